//! Programs that show adarem at work
