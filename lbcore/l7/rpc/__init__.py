"""Calls instead of pages: gRPC as a proxy has to know it, and a gateway from REST to it."""
