//! Sequences with a maximum in their type: the maximum is checked where a value is made and where it is read,
//! so that encoding cannot fail and decoding cannot be made to allocate.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;

use bytes::Bytes;
use thiserror::Error;

use crate::wire::{DecodeError, Reader, Wire};

/// A value has more bytes or elements than its type may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{found} is above the maximum of {max}")]
pub struct OutOfBounds {
    /// What was given.
    pub found: usize,
    /// What the type may hold.
    pub max: usize,
}

/// At most `MAX` opaque bytes, behind a 32-bit length. Cloning shares the buffer.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob<const MAX: usize>(Bytes);

impl<const MAX: usize> Blob<MAX> {
    /// Wraps `bytes` if they fit.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, OutOfBounds> {
        let bytes = bytes.into();
        match bytes.len() {
            found if found > MAX => Err(OutOfBounds { found, max: MAX }),
            _ => Ok(Blob(bytes)),
        }
    }

    /// The bytes, shared.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

impl<const MAX: usize> Deref for Blob<MAX> {
    type Target = Bytes;
    fn deref(&self) -> &Bytes {
        &self.0
    }
}

impl<const MAX: usize> FromStr for Blob<MAX> {
    type Err = OutOfBounds;
    fn from_str(text: &str) -> Result<Self, OutOfBounds> {
        Blob::new(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl<const MAX: usize> fmt::Debug for Blob<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl<const MAX: usize> Wire for Blob<MAX> {
    const NAME: &'static str = "bytes";
    fn size(&self) -> usize {
        4 + self.0.len()
    }
    fn put(&self, out: &mut Vec<u8>) {
        put_length_u32(self.0.len(), out);
        out.extend_from_slice(&self.0);
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        let length = usize::try_from(u32::take(reader)?).unwrap_or(usize::MAX);
        check(length, MAX)?;
        reader.bytes(length).map(Blob)
    }
}

/// At most `MAX` elements, behind a 16-bit count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> List<T, MAX> {
    /// Wraps `elements` if they fit.
    pub fn new(elements: Vec<T>) -> Result<Self, OutOfBounds> {
        const { assert!(MAX <= u16::MAX as usize, "the count is sixteen bits wide") };
        match elements.len() {
            found if found > MAX => Err(OutOfBounds { found, max: MAX }),
            _ => Ok(List(elements)),
        }
    }

    /// The elements that fit, in order; the rest is dropped.
    pub fn truncated(mut elements: Vec<T>) -> Self {
        elements.truncate(MAX);
        List(elements)
    }

    /// The elements.
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Wire, const MAX: usize> Wire for List<T, MAX> {
    const NAME: &'static str = "list";
    fn size(&self) -> usize {
        2 + self.0.iter().map(Wire::size).sum::<usize>()
    }
    fn put(&self, out: &mut Vec<u8>) {
        u16::try_from(self.0.len())
            .expect("invariant: MAX fits the count, and new() holds the length to MAX")
            .put(out);
        self.0.iter().for_each(|element| element.put(out));
    }
    fn take(reader: &mut Reader) -> Result<Self, DecodeError> {
        let count = usize::from(u16::take(reader)?);
        check(count, MAX)?;
        // Not with_capacity(count): the vector grows with the bytes that are really there.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(T::take(reader)?);
        }
        Ok(List(elements))
    }
}

/// Refuses a peer's length before anything is taken or allocated.
pub(crate) fn check(found: usize, max: usize) -> Result<(), DecodeError> {
    if found > max { Err(DecodeError::AboveMaximum { found, max }) } else { Ok(()) }
}

/// Writes a length that its type has already held below 2^32.
pub(crate) fn put_length_u32(length: usize, out: &mut Vec<u8>) {
    u32::try_from(length).expect("invariant: no bounded type holds 4 GiB").put(out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_allocates_nothing_that_is_not_there() {
        let mut reader = Reader::new(Bytes::from_static(&[0xff, 0xff, 1, 2]));
        assert_eq!(List::<u64, 65_535>::take(&mut reader), Err(DecodeError::Short { missing: 6 }));
    }

    #[test]
    fn bounds_hold_both_ways() {
        assert_eq!(Blob::<2>::new(vec![1, 2, 3]), Err(OutOfBounds { found: 3, max: 2 }));
        let mut reader = Reader::new(Bytes::from_static(&[0, 0, 0, 3, 1, 2, 3]));
        assert_eq!(Blob::<2>::take(&mut reader), Err(DecodeError::AboveMaximum { found: 3, max: 2 }));
    }
}
