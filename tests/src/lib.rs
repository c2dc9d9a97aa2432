//! Shared harness of the whole-system tests.
