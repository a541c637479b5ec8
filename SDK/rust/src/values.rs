//! The types a hook can read and give, and how each passes the boundary.

use crate::raw;
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

mod sealed {
    pub trait Sealed {}
}
use sealed::Sealed;

/// An element type of arrays: `f32`, `f64`, `i64`. The ABI has no others.
pub trait Element: Sealed + Copy + 'static {
    #[doc(hidden)]
    const NAME: &'static str;
}

impl Sealed for f32 {}
impl Sealed for f64 {}
impl Sealed for i64 {}
impl Element for f32 {
    const NAME: &'static str = "f32";
}
impl Element for f64 {
    const NAME: &'static str = "f64";
}
impl Element for i64 {
    const NAME: &'static str = "i64";
}

/// A number: `f64` or `i64`.
pub trait Scalar: Element {
    #[doc(hidden)]
    const CODES: [char; 3]; // input, optional input, result
    #[doc(hidden)]
    unsafe fn read(slot: &raw::Slot) -> Self;
    #[doc(hidden)]
    unsafe fn read_optional(slot: &raw::Slot) -> Option<Self>;
    #[doc(hidden)]
    fn bits(self) -> i64;
}

impl Scalar for f64 {
    const CODES: [char; 3] = ['d', 'D', 'x'];
    unsafe fn read(slot: &raw::Slot) -> f64 {
        slot.f64
    }
    unsafe fn read_optional(slot: &raw::Slot) -> Option<f64> {
        slot.optional_f64.as_ref().copied()
    }
    fn bits(self) -> i64 {
        self.to_bits() as i64
    }
}

impl Scalar for i64 {
    const CODES: [char; 3] = ['l', 'L', 'y'];
    unsafe fn read(slot: &raw::Slot) -> i64 {
        slot.i64
    }
    unsafe fn read_optional(slot: &raw::Slot) -> Option<i64> {
        slot.optional_i64.as_ref().copied()
    }
    fn bits(self) -> i64 {
        self
    }
}

/// A read-only array: compact, row-major. Valid until the hook returns.
#[derive(Clone, Copy)]
pub struct Array<'a, T: Element> {
    shape: &'a [i64],
    elements: &'a [T],
}

impl<'a, T: Element> Array<'a, T> {
    unsafe fn new(view: &'a raw::Array) -> Self {
        let shape = shape(view);
        Self {
            shape,
            elements: if view.data.is_null() {
                &[]
            } else {
                std::slice::from_raw_parts(view.data.cast(), count(shape))
            },
        }
    }

    /// The size along an axis. Panics past the last axis.
    pub fn shape(&self, axis: usize) -> usize {
        self.shape[axis] as usize
    }

    /// The elements in row-major order.
    pub fn elements(&self) -> &'a [T] {
        self.elements
    }
}

/// One index per axis, checked.
impl<T: Element, const N: usize> Index<[usize; N]> for Array<'_, T> {
    type Output = T;
    fn index(&self, indices: [usize; N]) -> &T {
        &self.elements[flat(self.shape, &indices)]
    }
}

/// A result array, allocated by the host. Valid until the hook returns; every element must be written, or in an
/// optional one none.
pub struct ArrayMut<'a, T: Element> {
    view: *mut raw::Array,
    shape: &'a [i64],
    elements: &'a mut [T],
}

impl<'a, T: Element> ArrayMut<'a, T> {
    unsafe fn new(pointer: *mut raw::Array) -> Self {
        let view: &'a raw::Array = &*pointer;
        let shape = shape(view);
        Self {
            view: pointer,
            shape,
            elements: if view.data.is_null() {
                &mut []
            } else {
                std::slice::from_raw_parts_mut(view.data.cast(), count(shape))
            },
        }
    }

    /// The size along an axis. Panics past the last axis.
    pub fn shape(&self, axis: usize) -> usize {
        self.shape[axis] as usize
    }

    /// The elements in row-major order. Asking for them says that the array is given.
    pub fn elements(&mut self) -> &mut [T] {
        // SAFETY: the host's view, which nothing else writes to during the call. The shape lies elsewhere.
        unsafe {
            if (*self.view).flags & raw::ARRAY_UNWRITTEN != 0 {
                (*self.view).flags &= !raw::ARRAY_UNWRITTEN
            }
        }
        self.elements
    }
}

impl ArrayMut<'_, i64> {
    /// Puts a text into row `row` of an array [rows, bytes]: its UTF-8 bytes, one an element, and zeros after them.
    pub fn write_text(&mut self, row: usize, text: &str) -> crate::Result {
        if self.shape.len() != 2 || row >= self.shape(0) || text.len() > self.shape(1) {
            return Err(format!("{:?} does not fit row {} of an array of shape {:?}", text, row, self.shape).into());
        }
        let width = self.shape(1);
        let elements = self.elements();
        let bytes = text.bytes().map(i64::from).chain(std::iter::repeat(0));
        for (element, byte) in elements[row * width..(row + 1) * width].iter_mut().zip(bytes) {
            *element = byte;
        }
        Ok(())
    }
}

/// One index per axis, checked.
impl<T: Element, const N: usize> Index<[usize; N]> for ArrayMut<'_, T> {
    type Output = T;
    fn index(&self, indices: [usize; N]) -> &T {
        &self.elements[flat(self.shape, &indices)]
    }
}

impl<T: Element, const N: usize> IndexMut<[usize; N]> for ArrayMut<'_, T> {
    fn index_mut(&mut self, indices: [usize; N]) -> &mut T {
        let position = flat(self.shape, &indices);
        &mut self.elements()[position]
    }
}

unsafe fn shape(view: &raw::Array) -> &[i64] {
    if view.shape.is_null() {
        &[]
    } else {
        std::slice::from_raw_parts(view.shape, view.ndim as usize)
    }
}

fn count(shape: &[i64]) -> usize {
    shape.iter().map(|size| *size as usize).product()
}

fn flat(shape: &[i64], indices: &[usize]) -> usize {
    assert!(shape.len() == indices.len(), "{} indices for an array of {} axes", indices.len(), shape.len());
    shape.iter().zip(indices).fold(0, |flat, (size, index)| {
        assert!(*index < *size as usize, "index {} of an axis of {}", index, size);
        flat * *size as usize + index
    })
}

/// Where a hook puts a number: `Out<f64>`, `Out<i64>`, or `Out<Option<f64>>` for one that need not be set.
pub struct Out<'a, T: OutValue> {
    target: *mut i64,
    lifetime: PhantomData<&'a mut T>,
}

impl<T: OutValue> Out<'_, T> {
    /// Gives the result; the last call counts. An `Out<Option<f64>>` takes a number, `Some` of one, or `None`, which leaves
    /// the result out; an `Out<i64>` also takes a choice such as `BlockScope::Layer`.
    pub fn set(&mut self, value: impl Into<T>) {
        // SAFETY: the host's 8 bytes for the result, which nothing else refers to during the call.
        unsafe { self.target.write(value.into().bits()) }
    }
}

/// A number that a hook gives, or may give.
pub trait OutValue {
    #[doc(hidden)]
    type Number: Scalar;
    #[doc(hidden)]
    const OPTIONAL: bool;
    #[doc(hidden)]
    fn bits(self) -> i64;
}

impl<T: Scalar> OutValue for T {
    type Number = T;
    const OPTIONAL: bool = false;
    fn bits(self) -> i64 {
        Scalar::bits(self)
    }
}

impl<T: Scalar> OutValue for Option<T> {
    type Number = T;
    const OPTIONAL: bool = true;
    fn bits(self) -> i64 {
        self.map_or(raw::UNWRITTEN, Scalar::bits)
    }
}

/// A type that a hook can read: `f64`, `i64`, `Array<f32>`, `Array<f64>`, `Array<i64>`, or an `Option` of one for a value
/// that may be absent. The ABI has no others.
pub trait Input<'a>: Sized {
    #[doc(hidden)]
    const TYPE: Type;
    #[doc(hidden)]
    unsafe fn read(slot: &'a raw::Slot) -> Self;
}

/// A type that a hook can give: `Out<f64>`, `Out<i64>`, `ArrayMut<f32>`, `ArrayMut<f64>`, `ArrayMut<i64>`; with `Option`,
/// `Out<Option<f64>>` and `Option<ArrayMut<f64>>`, a result that may stay away. The ABI has no others.
pub trait Output<'a>: Sized {
    #[doc(hidden)]
    const TYPE: Type;
    #[doc(hidden)]
    unsafe fn open(slot: &'a raw::Slot) -> Self;
}

/// How the signature calls a type.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Type {
    pub element: &'static str,
    pub code: char,
    pub is_array: bool,
    pub is_optional: bool,
}

impl<'a, T: Scalar> Input<'a> for T {
    const TYPE: Type = Type { element: T::NAME, code: T::CODES[0], is_array: false, is_optional: false };
    unsafe fn read(slot: &'a raw::Slot) -> T {
        <T as Scalar>::read(slot)
    }
}

impl<'a, T: Scalar> Input<'a> for Option<T> {
    const TYPE: Type = Type { element: T::NAME, code: T::CODES[1], is_array: false, is_optional: true };
    unsafe fn read(slot: &'a raw::Slot) -> Option<T> {
        T::read_optional(slot)
    }
}

impl<'a, T: Element> Input<'a> for Array<'a, T> {
    const TYPE: Type = Type { element: T::NAME, code: 'A', is_array: true, is_optional: false };
    unsafe fn read(slot: &'a raw::Slot) -> Self {
        Array::new(&*slot.array)
    }
}

impl<'a, T: Element> Input<'a> for Option<Array<'a, T>> {
    const TYPE: Type = Type { element: T::NAME, code: 'A', is_array: true, is_optional: true };
    unsafe fn read(slot: &'a raw::Slot) -> Self {
        slot.array.as_ref().map(|view| Array::new(view))
    }
}

impl<'a, T: OutValue> Output<'a> for Out<'a, T> {
    const TYPE: Type = Type {
        element: <T::Number as Element>::NAME,
        code: <T::Number as Scalar>::CODES[2],
        is_array: false,
        is_optional: T::OPTIONAL,
    };
    unsafe fn open(slot: &'a raw::Slot) -> Self {
        // The union's members are all pointers of one size here: the number's type is T::Number by the code above.
        Out { target: slot.i64_result, lifetime: PhantomData }
    }
}

impl<'a, T: Element> Output<'a> for ArrayMut<'a, T> {
    const TYPE: Type = Type { element: T::NAME, code: 'Z', is_array: true, is_optional: false };
    unsafe fn open(slot: &'a raw::Slot) -> Self {
        ArrayMut::new(slot.array_result)
    }
}

impl<'a, T: Element> Output<'a> for Option<ArrayMut<'a, T>> {
    const TYPE: Type = Type { element: T::NAME, code: 'Z', is_array: true, is_optional: true };
    unsafe fn open(slot: &'a raw::Slot) -> Self {
        if slot.array_result.is_null() {
            None
        } else {
            Some(ArrayMut::new(slot.array_result))
        }
    }
}
