"""What tests share: values, strategies, processes and servers to test with. Imported as `support`."""
