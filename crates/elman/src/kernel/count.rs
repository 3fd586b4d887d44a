//! In debug builds, how often the kernels were called on this thread: tests ask,
//! so that a silent way back to the plain loop fails.

use std::cell::Cell;

thread_local! {
    static PRODUCTS: Cell<u64> = const { Cell::new(0) };
}

/// Products since the thread began.
pub fn products() -> u64 {
    PRODUCTS.get()
}

/// Counts a product.
pub(super) fn product() {
    PRODUCTS.set(PRODUCTS.get() + 1);
}
