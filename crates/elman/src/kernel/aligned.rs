//! Numbers that begin where a line of the caches does.

use std::ops::{Deref, DerefMut};

/// Bytes of a line.
const LINE: usize = 64;

/// A slice of its own whose first number is at the beginning of a line of the
/// caches: a vector as long as a line, or half as long, is never in two.
#[derive(Debug)]
pub struct Aligned<T> {
    /// The numbers, with others around them.
    room: Vec<T>,
    start: usize,
    len: usize,
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self {
            room: Vec::new(),
            start: 0,
            len: 0,
        }
    }
}

impl<T: Copy + Default> Aligned<T> {
    /// Has so many numbers from now on, whatever they are. No allocation once it
    /// is large enough.
    pub fn resize(&mut self, len: usize) {
        let around = LINE / size_of::<T>();
        if self.start + len > self.room.len() {
            self.room.resize(len + around, T::default());
            // Never more than a line, whatever the allocator gives.
            self.start = self.room.as_ptr().align_offset(LINE).min(around);
        }
        self.len = len;
    }

    /// Of these numbers.
    pub fn of(numbers: &[T]) -> Self {
        let mut all = Self::default();
        all.resize(numbers.len());
        all.copy_from_slice(numbers);
        all
    }
}

impl<T: Clone> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        // Nothing, or more than a line.
        let around = self.room.len().min(LINE / size_of::<T>());
        let mut room = Vec::<T>::with_capacity(self.len + around);
        let start = room.as_ptr().align_offset(LINE).min(around);
        room.extend_from_slice(&self.room[..start]);
        room.extend_from_slice(self);
        room.extend_from_slice(&self.room[start..around]);
        Self {
            room,
            start,
            len: self.len,
        }
    }
}

impl<T> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.room[self.start..][..self.len]
    }
}

impl<T> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.room[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_line() {
        let mut numbers = Aligned::<f32>::default();
        for len in [0, 1, 16, 1000, 3, 1000, 999, 5000] {
            numbers.resize(len);
            assert_eq!(numbers.len(), len);
            numbers.fill(len as f32);
            for numbers in [&numbers, &numbers.clone()] {
                assert!(numbers.iter().all(|x| *x == len as f32));
                let at = numbers.as_ptr().addr() % LINE;
                assert!(
                    len == 0 || at == 0,
                    "{len} numbers begin {at} bytes after a line"
                );
            }
        }
    }
}
