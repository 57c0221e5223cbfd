//! Reads PyTorch .bin/.pt/.pth checkpoints (zip and the older stream) without executing anything.
