//! From one declaration to a signature and a function that fits it.

use crate::values::{Input, Output, Type};
use crate::{raw, Result};
use std::cell::Cell;

/// One row of a plugin's hooks.
#[doc(hidden)]
pub struct Hook<P> {
    pub point: &'static str,
    pub inputs: Vec<(&'static str, Type)>,
    pub results: Vec<(&'static str, Type)>,
    pub run: fn(&mut P, &Frame<'_>) -> Result,
}

impl<P> Hook<P> {
    /// The signature and its codes; an error when a name has axes and its type none, or the other way round.
    pub(crate) fn signature(&self) -> Result<(String, String)> {
        let mut signature = String::new();
        let mut codes = String::new();
        for (arrow, items) in [("", &self.inputs), ("-> ", &self.results)] {
            signature += arrow;
            for (name, kind) in items {
                let axes = name.find('[').unwrap_or(name.len());
                if kind.is_array != (axes < name.len()) {
                    return Err(format!("'{}': an array's name ends in its axes, a number's does not", name).into());
                }
                let mark = if kind.is_optional { "?" } else { "" };
                signature += &format!("{}: {}{}{}, ", &name[..axes], kind.element, &name[axes..], mark);
                codes.push(kind.code);
            }
        }
        Ok((signature, codes))
    }
}

/// The arguments of one call, handed out in declared order.
#[doc(hidden)]
pub struct Frame<'a> {
    slots: &'a [raw::Slot],
    next: Cell<usize>,
}

impl<'a> Frame<'a> {
    pub(crate) fn new(slots: &'a [raw::Slot]) -> Self {
        Self { slots, next: Cell::new(0) }
    }

    fn slot(&self) -> &'a raw::Slot {
        let index = self.next.get();
        self.next.set(index + 1);
        &self.slots[index]
    }

    pub fn input<T: Input<'a>>(&self) -> T {
        // SAFETY: `hooks!` asks for the types it declared, in that order, and the host checked the declaration's hash.
        unsafe { T::read(self.slot()) }
    }

    pub fn output<T: Output<'a>>(&self) -> T {
        // SAFETY: as above.
        unsafe { T::open(self.slot()) }
    }
}

/// Declares a plugin's hooks: for each its point, a function with inputs, and results. Every input and result says once
/// its variable, its type, and its name in the host; an array's name carries its axes. The body is a
/// [`Result`](crate::Result) and may use `?`.
///
/// ```
/// # use craft_plugin::{hooks, Plugin, Result, Settings};
/// # struct Rule;
/// # impl Plugin for Rule {
/// #     const ID: &'static str = "a"; const VERSION: &'static str = "1"; const SUMMARY: &'static str = "s";
/// #     fn new(_: &Settings) -> Result<Self> { Ok(Rule) }
/// # }
/// hooks! { Rule:
///     /// Halves what the action objective contributes.
///     gradient_combine fn halve(&mut self, weights: Array<f64> = "weights[k,m]", action: i64 = "index.action")
///         -> (halved: ArrayMut<f64> = "weights[k,m]", share: Out<Option<f64>> = "metric.share") {
///         halved.elements().copy_from_slice(weights.elements());
///         for block in 0..weights.shape(0) {
///             halved[[block, action as usize]] *= 0.5;
///         }
///         Ok(())
///     }
/// }
/// ```
///
/// A type that the ABI does not have does not compile:
///
/// ```compile_fail
/// # use craft_plugin::{hooks, Plugin, Result, Settings};
/// # struct Rule;
/// # impl Plugin for Rule {
/// #     const ID: &'static str = "a"; const VERSION: &'static str = "1"; const SUMMARY: &'static str = "s";
/// #     fn new(_: &Settings) -> Result<Self> { Ok(Rule) }
/// # }
/// hooks! { Rule:
///     post_step fn update(&mut self, lambda: f32 = "lambda.retention") -> () { Ok(()) }
/// }
/// ```
///
/// Neither does keeping an array beyond the call.
#[macro_export]
macro_rules! hooks {
    ($plugin:ty : $(
        $(#[$attribute:meta])*
        $point:ident fn $name:ident(
            &mut $self:ident $(, $input:ident : $input_type:ty = $input_name:literal)* $(,)?
        ) -> ($($result:ident : $result_type:ty = $result_name:literal),* $(,)?) $body:block
    )*) => {
        const _: () = {
            #[allow(unused_imports)]
            use $crate::{Array, ArrayMut, Out};

            impl $plugin {
                $(
                    $(#[$attribute])*
                    #[allow(clippy::too_many_arguments)]
                    fn $name(
                        &mut $self $(, #[allow(unused_variables)] $input: $input_type)*
                        $(, #[allow(unused_mut, unused_variables)] mut $result: $result_type)*
                    ) -> $crate::Result $body
                )*
            }

            impl $crate::Hooks for $plugin {
                fn hooks() -> Vec<$crate::Hook<Self>> {
                    vec![$($crate::Hook {
                        point: stringify!($point),
                        inputs: vec![$(($input_name, <$input_type as $crate::Input>::TYPE)),*],
                        results: vec![$(($result_name, <$result_type as $crate::Output>::TYPE)),*],
                        run: |plugin, _frame| {
                            $(let $input = _frame.input::<$input_type>();)*
                            $(let $result = _frame.output::<$result_type>();)*
                            plugin.$name($($input,)* $($result,)*)
                        },
                    }),*]
                }
            }
        };
    };
}

/// Makes `craft_plugin_entry`, a library's one exported function, for a type with [`Plugin`](crate::Plugin).
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        #[no_mangle]
        pub extern "C" fn craft_plugin_entry() -> *const $crate::raw::Plugin {
            static TABLE: ::std::sync::atomic::AtomicPtr<$crate::raw::Plugin> =
                ::std::sync::atomic::AtomicPtr::new(::std::ptr::null_mut());
            $crate::entry::<$plugin>(&TABLE)
        }
    };
}
