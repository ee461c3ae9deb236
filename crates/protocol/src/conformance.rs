//! What every protocol must pass.
