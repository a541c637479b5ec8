//! Plugins for the craft trainer, in Rust.
//!
//! A plugin is one type with [`Plugin`], its hooks in [`hooks!`], and [`export!`]. A hook's names, variables and types are
//! written once; a type that the ABI does not have does not compile.
//!
//! ```
//! use craft_plugin::{hooks, Parameter, ParameterRow, Plugin, Result, Settings};
//!
//! const BUDGET: Parameter<f64> = Parameter::new("budget", 0.1, "Largest value of the loss.").range(0.0, f64::INFINITY);
//!
//! struct Dual { budget: f64 }
//!
//! impl Plugin for Dual {
//!     const ID: &'static str = "org.example.dual";
//!     const VERSION: &'static str = "1.0.0";
//!     const SUMMARY: &'static str = "Dual ascent.";
//!     fn parameters() -> Vec<ParameterRow> { vec![BUDGET.row()] }
//!     fn new(settings: &Settings) -> Result<Self> { Ok(Dual { budget: settings.get(BUDGET)? }) }
//! }
//!
//! hooks! { Dual:
//!     post_step fn update(&mut self, loss: f64 = "loss.retention", lambda: f64 = "lambda.retention")
//!         -> (next: Out<f64> = "lambda.retention") {
//!         next.set((lambda + 0.01 * (loss - self.budget)).max(0.0));
//!         Ok(())
//!     }
//! }
//! craft_plugin::export!(Dual);
//! ```
//!
//! Hooks and the functions of [`Plugin`] return a [`Result`]: an error's text reaches the user. A panic is caught and
//! reported as an error too (unless the plugin is built with `panic = "abort"`, which ends the host).
//!
//! Needs Rust 1.63 and nothing else.

#![warn(missing_docs)]

mod codes;
mod hook;
#[doc(hidden)]
pub mod raw;
mod settings;
mod state;
mod table;
mod values;

pub use codes::{tap_layer, BlockGroup, BlockKind, BlockScope, ProbeTemplate, TapPooling, TapTokens};
#[doc(hidden)]
pub use hook::{Frame, Hook};
pub use settings::{Parameter, ParameterRow, SettingValue, Settings};
pub use state::{Reader, Writer};
#[doc(hidden)]
pub use table::entry;
pub use values::{Array, ArrayMut, Element, Input, Out, OutValue, Output, Scalar, Type};

/// A sentence for the user; text and every error type convert to it: `Err(format!("...").into())`, `?`.
pub type Error = Box<dyn std::error::Error>;

/// What can fail gives this.
pub type Result<T = ()> = std::result::Result<T, Error>;

/// A plugin: who it is, what it takes, and its state. What it does is in [`hooks!`].
///
/// The host makes one instance per use in a plugin list and never calls into it from two threads at once.
pub trait Plugin: Hooks + Sized + 'static {
    /// Unique and never changed: `org.example.my-rule`.
    const ID: &'static str;
    /// Version of the plugin.
    const VERSION: &'static str;
    /// One sentence.
    const SUMMARY: &'static str;
    /// The rule, in lines.
    const FORMULA: &'static str = "";
    /// Where it comes from.
    const REFERENCE: &'static str = "";

    /// The settings it takes, in the order tools list them.
    fn parameters() -> Vec<ParameterRow> {
        Vec::new()
    }

    /// Makes an instance. An error says which settings, each valid, do not go together.
    fn new(settings: &Settings) -> Result<Self>;

    /// The lowest minor of ABI 1 that has every name the plugin cannot do without: 1 for probes.
    const ABI_MIN_MINOR: u32 = 0;

    /// Version of what `save` writes; 0 for a plugin without state.
    const STATE_VERSION: u32 = 0;

    /// Writes the whole state; the same state must give the same bytes.
    fn save(&self, _output: &mut Writer) -> Result {
        Ok(())
    }

    /// Reads what a `save` of `version` wrote, at most `STATE_VERSION`. Assign only after everything was read.
    fn load(&mut self, _input: &mut Reader, _version: u32) -> Result {
        Ok(())
    }

    /// Back to the state right after `new`.
    fn reset(&mut self) -> Result {
        Ok(())
    }
}

/// A plugin's hooks. Written by [`hooks!`].
pub trait Hooks {
    #[doc(hidden)]
    fn hooks() -> Vec<Hook<Self>>
    where
        Self: Sized;
}
