//! What a user can set, and what an instance gets.

use crate::{raw, Result, Scalar};
use std::ffi::CStr;
use std::os::raw::c_char;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
    impl Sealed for bool {}
    impl Sealed for &'static str {}
}

/// A type a setting can have: `f64`, `i64`, `bool`, `&'static str`. The ABI has no others.
pub trait SettingValue: sealed::Sealed + Copy + 'static {
    /// What [`Settings::get`] gives: the type itself, or a `String`.
    type Owned;
    #[doc(hidden)]
    const KIND: i32;
    #[doc(hidden)]
    fn text(self) -> String;
    #[doc(hidden)]
    fn read(row: &raw::Setting) -> Self::Owned;
}

impl SettingValue for f64 {
    type Owned = f64;
    const KIND: i32 = raw::F64;
    fn text(self) -> String {
        self.to_string()
    }
    fn read(row: &raw::Setting) -> f64 {
        row.f64
    }
}

impl SettingValue for i64 {
    type Owned = i64;
    const KIND: i32 = raw::I64;
    fn text(self) -> String {
        self.to_string()
    }
    fn read(row: &raw::Setting) -> i64 {
        row.i64
    }
}

impl SettingValue for bool {
    type Owned = bool;
    const KIND: i32 = raw::BOOL;
    fn text(self) -> String {
        self.to_string()
    }
    fn read(row: &raw::Setting) -> bool {
        row.i64 != 0
    }
}

impl SettingValue for &'static str {
    type Owned = String;
    const KIND: i32 = raw::STRING;
    fn text(self) -> String {
        self.to_string()
    }
    fn read(row: &raw::Setting) -> String {
        text(row.text)
    }
}

/// One setting: its name, default, range or choices, and what it means, with the unit where there is one.
///
/// ```
/// # use craft_plugin::Parameter;
/// const BUDGET: Parameter<f64> = Parameter::new("budget", 0.1, "Largest value of the loss.").range(0.0, f64::INFINITY);
/// const RULE: Parameter<&str> = Parameter::new("rule", "plain", "How it is done.").choices(&["plain", "capped"]);
/// ```
#[derive(Clone, Copy)]
pub struct Parameter<T: SettingValue> {
    name: &'static str,
    default: T,
    minimum: f64,
    maximum: f64,
    choices: &'static [&'static str],
    doc: &'static str,
}

impl<T: SettingValue> Parameter<T> {
    /// A setting without limits.
    pub const fn new(name: &'static str, default: T, doc: &'static str) -> Self {
        Self { name, default, minimum: f64::NEG_INFINITY, maximum: f64::INFINITY, choices: &[], doc }
    }

    /// The row for [`Plugin::parameters`](crate::Plugin::parameters).
    pub fn row(&self) -> ParameterRow {
        ParameterRow {
            name: self.name,
            kind: T::KIND,
            default: self.default.text(),
            minimum: self.minimum,
            maximum: self.maximum,
            choices: self.choices,
            doc: self.doc,
        }
    }
}

impl<T: SettingValue + Scalar> Parameter<T> {
    /// The least and the greatest value, both allowed.
    pub const fn range(mut self, minimum: f64, maximum: f64) -> Self {
        self.minimum = minimum;
        self.maximum = maximum;
        self
    }
}

impl Parameter<&'static str> {
    /// The only texts allowed.
    pub const fn choices(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}

/// A parameter without its type.
pub struct ParameterRow {
    pub(crate) name: &'static str,
    pub(crate) kind: i32,
    pub(crate) default: String,
    pub(crate) minimum: f64,
    pub(crate) maximum: f64,
    pub(crate) choices: &'static [&'static str],
    pub(crate) doc: &'static str,
}

/// The settings of an instance, checked by the host against the parameters.
pub struct Settings<'a> {
    table: &'a raw::Settings,
}

impl<'a> Settings<'a> {
    pub(crate) fn new(table: &'a raw::Settings) -> Self {
        Self { table }
    }

    /// The name the user gave this instance.
    pub fn instance(&self) -> String {
        text(self.table.instance)
    }

    /// The value of a parameter that [`Plugin::parameters`](crate::Plugin::parameters) lists; an error when it does not.
    pub fn get<T: SettingValue>(&self, parameter: Parameter<T>) -> Result<T::Owned> {
        for index in 0..self.table.count as usize {
            // SAFETY: the host gives `count` rows, `setting_size` bytes apart, that live for the call.
            let row = unsafe {
                let start = self.table.items.cast::<u8>().add(index * self.table.setting_size as usize);
                &*start.cast::<raw::Setting>()
            };
            if text(row.name) == parameter.name && row.kind == T::KIND {
                return Ok(T::read(row));
            }
        }
        Err(format!("the plugin reads the setting '{}', which its parameters do not list", parameter.name).into())
    }
}

fn text(pointer: *const c_char) -> String {
    if pointer.is_null() {
        return String::new();
    }
    // SAFETY: texts of the ABI are NUL-terminated and live for the call.
    unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned()
}
