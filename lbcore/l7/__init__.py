"""The HTTP proxy: what can be done for a request by somebody who reads it, and what reading it costs."""
