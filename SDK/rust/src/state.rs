//! Saving and loading: values of eight little-endian bytes, in the order they are read back. Bit patterns are kept.

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
        self.bits(value.to_bits())
    }

    /// Writes an integer.
    pub fn i64(&mut self, value: i64) -> Result {
        self.bits(value as u64)
    }

    /// Writes a count, then the numbers.
    pub fn f64s(&mut self, values: &[f64]) -> Result {
        self.i64(values.len() as i64)?;
        values.iter().try_for_each(|value| self.f64(*value))
    }

    fn bits(&mut self, bits: u64) -> Result {
        let bytes = bits.to_le_bytes();
        // SAFETY: the host takes 8 bytes from a buffer of 8.
        let taken = self.output.write.map(|write| unsafe { write(self.output.context, bytes.as_ptr().cast(), 8) });
        if taken == Some(8) {
            Ok(())
        } else {
            Err("the host could not take the plugin's state".into())
        }
    }
}

/// Where a plugin reads its state. Every read fails when the state ends early.
pub struct Reader<'a> {
    input: &'a raw::Input,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(input: &'a raw::Input) -> Self {
        Self { input }
    }

    /// Reads a number.
    pub fn f64(&mut self) -> Result<f64> {
        self.bits().map(f64::from_bits)
    }

    /// Reads an integer.
    pub fn i64(&mut self) -> Result<i64> {
        self.bits().map(|bits| bits as i64)
    }

    /// Reads a count, then the numbers. `limit` bounds what a damaged count can make the plugin allocate.
    pub fn f64s(&mut self, limit: usize) -> Result<Vec<f64>> {
        let count = self.i64()?;
        if count < 0 || count as u64 > limit as u64 {
            return Err(format!("the saved state is damaged: {} values in a list", count).into());
        }
        (0..count).map(|_| self.f64()).collect()
    }

    fn bits(&mut self) -> Result<u64> {
        let mut bytes = [0u8; 8];
        let mut filled = 0;
        // The host may give fewer bytes than asked for.
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
        Ok(u64::from_le_bytes(bytes))
    }
}
