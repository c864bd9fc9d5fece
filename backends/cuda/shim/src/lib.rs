//! libcuda, loaded when first called
