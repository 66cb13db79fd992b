//! pii-mask
