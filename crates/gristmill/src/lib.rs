//! Opens model weights of every format, converts, quantizes and runs them on the CPU.
