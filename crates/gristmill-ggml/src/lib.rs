//! The legacy containers of the ggml family: GGML, GGMF and GGJT versions 1 to 3.
#![forbid(unsafe_code)]
