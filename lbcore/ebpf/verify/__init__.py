"""The parts of the teaching verifier; `lbcore.ebpf.verifier` is its front."""
