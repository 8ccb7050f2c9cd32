"""The logs of other routers, each with the shape that its makers gave it, and our own shape"""
