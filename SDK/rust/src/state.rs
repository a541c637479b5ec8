//! Saving and loading: little-endian values in the order they are read back. Bit patterns are kept.

use crate::{raw, Result};

/// Where a plugin writes its state.
pub struct Writer<'a> {
    output: &'a raw::Output,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(output: &'a raw::Output) -> Self {
        Self { output }
    }

    /// Writes a number.
    pub fn f64(&mut self, value: f64) -> Result {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes an integer.
    pub fn i64(&mut self, value: i64) -> Result {
        self.bytes(&value.to_le_bytes())
    }

    /// Writes a count, then the numbers.
    pub fn f64s(&mut self, values: &[f64]) -> Result {
        self.list(values, |value| value.to_le_bytes())
    }

    /// Writes a count, then the numbers, in half the bytes of `f64s`.
    pub fn f32s(&mut self, values: &[f32]) -> Result {
        self.list(values, |value| value.to_le_bytes())
    }

    /// Writes a count, then the integers.
    pub fn i64s(&mut self, values: &[i64]) -> Result {
        self.list(values, |value| value.to_le_bytes())
    }

    /// Writes a text.
    pub fn text(&mut self, value: &str) -> Result {
        self.list(value.as_bytes(), |byte| [*byte])
    }

    fn list<T, const N: usize>(&mut self, values: &[T], bytes: impl Fn(&T) -> [u8; N]) -> Result {
        self.i64(values.len() as i64)?;
        self.bytes(&values.iter().flat_map(bytes).collect::<Vec<u8>>())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result {
        let size = bytes.len() as u64;
        // SAFETY: the host takes `size` bytes from a buffer of that size.
        let write = |write: unsafe extern "C" fn(_, _, _) -> i64| unsafe {
            write(self.output.context, bytes.as_ptr().cast(), size)
        };
        if size == 0 || self.output.write.map(write) == Some(size as i64) {
            Ok(())
        } else {
            Err("the host could not take the plugin's state".into())
        }
    }
}

/// Where a plugin reads its state. Every read fails when the state ends early. A `limit` bounds what a damaged count can
/// make the plugin allocate.
pub struct Reader<'a> {
    input: &'a raw::Input,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a raw::Input) -> Self {
        Self { input }
    }

    /// Reads a number.
    pub fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// Reads an integer.
    pub fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// Reads a count, then the numbers.
    pub fn f64s(&mut self, limit: usize) -> Result<Vec<f64>> {
        self.list(limit, f64::from_le_bytes)
    }

    /// Reads a count, then the numbers.
    pub fn f32s(&mut self, limit: usize) -> Result<Vec<f32>> {
        self.list(limit, f32::from_le_bytes)
    }

    /// Reads a count, then the integers.
    pub fn i64s(&mut self, limit: usize) -> Result<Vec<i64>> {
        self.list(limit, i64::from_le_bytes)
    }

    /// Reads a text of at most `limit` bytes.
    pub fn text(&mut self, limit: usize) -> Result<String> {
        Ok(String::from_utf8(self.list(limit, |[byte]| byte)?)?)
    }

    fn list<T, const N: usize>(&mut self, limit: usize, value: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
        let count = self.i64()?;
        if count < 0 || count as u64 > limit as u64 {
            return Err(format!("the saved state is damaged: {} values in a list of at most {}", count, limit).into());
        }
        let mut values = Vec::new();
        let mut left = count as usize;
        // In pieces: a damaged count costs no more memory than there is state.
        let mut buffer = vec![0; N * left.min(1 << 16)];
        while left > 0 {
            let piece = left.min(1 << 16);
            let bytes = &mut buffer[..N * piece];
            self.fill(bytes)?;
            values.extend(bytes.chunks_exact(N).map(|chunk| {
                let mut array = [0; N];
                array.copy_from_slice(chunk);
                value(array)
            }));
            left -= piece;
        }
        Ok(values)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes).map(|()| bytes)
    }

    /// The host may give fewer bytes than asked for.
    fn fill(&mut self, bytes: &mut [u8]) -> Result {
        let mut filled = 0;
        while filled < bytes.len() {
            let rest = &mut bytes[filled..];
            let wanted = rest.len();
            // SAFETY: the host gives at most as many bytes as asked for.
            let count = self
                .input
                .read
                .map_or(-1, |read| unsafe { read(self.input.context, rest.as_mut_ptr().cast(), wanted as u64) });
            if count <= 0 || count as u64 > wanted as u64 {
                return Err("the saved state ends too early".into());
            }
            filled += count as usize;
        }
        Ok(())
    }
}
