"""Questions of analysts and operators as they write them, over a small ledger in which everything awkward is."""
