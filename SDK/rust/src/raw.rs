//! The C ABI, as `craft_plugin.h` declares it. Layouts are checked below and, against the header, by craft's tests.

#![allow(missing_docs)]

use std::os::raw::{c_char, c_void};

pub const ABI_MAJOR: u32 = 1;
pub const OK: i32 = 0;
pub const FAILED: i32 = 1;
pub const MESSAGE_CAPACITY: usize = 1024;
pub const CALL_FRAME: i32 = 1;

pub const ARRAY_UNWRITTEN: u64 = 2;
/// What a scalar result holds until it is written.
pub const UNWRITTEN: i64 = 0x7ff8c4af7dead0b1;

pub const I64: i32 = 0;
pub const F64: i32 = 1;
pub const BOOL: i32 = 2;
pub const STRING: i32 = 3;

#[repr(C)]
pub struct Error {
    pub struct_size: u32,
    pub code: i32,
    pub message: [u8; MESSAGE_CAPACITY],
}

#[repr(C)]
pub struct Array {
    pub data: *mut c_void,
    pub device_type: i32,
    pub device_id: i32,
    pub ndim: i32,
    pub type_code: u8,
    pub type_bits: u8,
    pub type_lanes: u16,
    pub shape: *mut i64,
    pub strides: *mut i64,
    pub byte_offset: u64,
    pub flags: u64,
}

#[repr(C)]
pub struct Parameter {
    pub name: *const c_char,
    pub kind: i32,
    pub reserved: i32,
    pub default_value: *const c_char,
    pub minimum: f64,
    pub maximum: f64,
    pub choices: *const *const c_char,
    pub doc: *const c_char,
}

#[repr(C)]
pub struct Setting {
    pub name: *const c_char,
    pub kind: i32,
    pub reserved: i32,
    pub i64: i64,
    pub f64: f64,
    pub text: *const c_char,
}

#[repr(C)]
pub struct Settings {
    pub struct_size: u32,
    pub setting_size: u32,
    pub count: u32,
    pub reserved: u32,
    pub items: *const Setting,
    pub instance: *const c_char,
}

#[repr(C)]
pub struct Output {
    pub struct_size: u32,
    pub reserved: u32,
    pub context: *mut c_void,
    pub write: Option<unsafe extern "C" fn(*mut c_void, *const c_void, u64) -> i64>,
}

#[repr(C)]
pub struct Input {
    pub struct_size: u32,
    pub reserved: u32,
    pub context: *mut c_void,
    pub read: Option<unsafe extern "C" fn(*mut c_void, *mut c_void, u64) -> i64>,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union Slot {
    pub f64: f64,
    pub i64: i64,
    pub optional_f64: *const f64,
    pub optional_i64: *const i64,
    pub array: *const Array,
    pub f64_result: *mut f64,
    pub i64_result: *mut i64,
    pub array_result: *mut Array,
}

pub type FrameFunction =
    unsafe extern "C" fn(this: *mut c_void, context: *mut c_void, slots: *const Slot, error: *mut Error) -> i32;

#[repr(C)]
pub struct Hook {
    pub point: *const c_char,
    pub signature: *const c_char,
    pub codes: *const c_char,
    pub signature_hash: u64,
    pub call: i32,
    pub reserved: i32,
    pub function: FrameFunction,
    pub context: *mut c_void,
}

pub const CARD_ID: &[u8] = b"craft.card/1";

#[repr(C)]
pub struct Card {
    pub struct_size: u32,
    pub reserved: u32,
    pub formula: *const c_char,
    pub reference: *const c_char,
}

#[repr(C)]
pub struct Plugin {
    pub struct_size: u32,
    pub abi_major: u32,
    pub abi_min_minor: u32,
    pub state_version: u32,
    pub id: *const c_char,
    pub version: *const c_char,
    pub summary: *const c_char,
    pub parameters: *const Parameter,
    pub parameter_count: u32,
    pub parameter_size: u32,
    pub hooks: *const Hook,
    pub hook_count: u32,
    pub hook_size: u32,
    pub create: Option<
        unsafe extern "C" fn(
            host: *const c_void,
            settings: *const Settings,
            this: *mut *mut c_void,
            error: *mut Error,
        ) -> i32,
    >,
    pub destroy: Option<unsafe extern "C" fn(this: *mut c_void)>,
    pub save: Option<unsafe extern "C" fn(this: *mut c_void, output: *const Output, error: *mut Error) -> i32>,
    pub load:
        Option<unsafe extern "C" fn(this: *mut c_void, input: *const Input, version: u32, error: *mut Error) -> i32>,
    pub reset: Option<unsafe extern "C" fn(this: *mut c_void, error: *mut Error) -> i32>,
    pub extension: Option<unsafe extern "C" fn(id: *const c_char) -> *const c_void>,
}

const _: () = assert!(std::mem::size_of::<Error>() == 1032);
const _: () = assert!(std::mem::size_of::<Array>() == 56);
const _: () = assert!(std::mem::size_of::<Parameter>() == 56);
const _: () = assert!(std::mem::size_of::<Setting>() == 40);
const _: () = assert!(std::mem::size_of::<Settings>() == 32);
const _: () = assert!(std::mem::size_of::<Slot>() == 8);
const _: () = assert!(std::mem::size_of::<Hook>() == 56);
const _: () = assert!(std::mem::size_of::<Plugin>() == 120);

/// `craft_signature_hash`: FNV-1a (64 bit) over the signature, one zero byte, and the codes.
pub fn signature_hash(signature: &str, codes: &str) -> u64 {
    signature
        .bytes()
        .chain(Some(0))
        .chain(codes.bytes())
        .fold(14695981039346656037, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(1099511628211))
}
