//! The one integration test binary.

mod readme;
