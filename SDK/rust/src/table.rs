//! The plugin table and the C functions behind it. No error and no panic leaves them.

use crate::hook::Frame;
use crate::settings::{ParameterRow, Settings};
use crate::state::{Reader, Writer};
use crate::{raw, Error, Plugin, Result};
use std::ffi::{CStr, CString};
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What a hook row's context points to.
struct HookContext<P> {
    run: fn(&mut P, &Frame<'_>) -> Result,
    arity: usize,
}

/// The table of `P`, made on the first call and kept permanently. NULL when `P` declares something impossible, which is
/// printed.
#[doc(hidden)]
pub fn entry<P: Plugin>(table: &AtomicPtr<raw::Plugin>) -> *const raw::Plugin {
    let made = table.load(Ordering::Acquire);
    if !made.is_null() {
        return made;
    }
    match catch_unwind(make::<P>) {
        Ok(Ok(new)) => {
            table.store(new, Ordering::Release);
            new
        }
        Ok(Err(error)) => {
            eprintln!("{}: {}", P::ID, error);
            ptr::null()
        }
        Err(_) => ptr::null(),
    }
}

fn make<P: Plugin>() -> Result<*mut raw::Plugin> {
    let mut hooks = Vec::new();
    for hook in P::hooks() {
        let (signature, codes) = hook.signature()?;
        let context = Box::new(HookContext { run: hook.run, arity: codes.len() });
        hooks.push(raw::Hook {
            point: c_string(hook.point)?,
            signature: c_string(&signature)?,
            codes: c_string(&codes)?,
            signature_hash: raw::signature_hash(&signature, &codes),
            call: raw::CALL_FRAME,
            reserved: 0,
            function: run::<P>,
            context: Box::into_raw(context).cast(),
        });
    }
    let parameters = P::parameters().iter().map(parameter).collect::<Result<Vec<_>>>()?;
    let has_state = P::STATE_VERSION > 0;
    Ok(Box::into_raw(Box::new(raw::Plugin {
        struct_size: std::mem::size_of::<raw::Plugin>() as u32,
        abi_major: raw::ABI_MAJOR,
        abi_min_minor: P::ABI_MIN_MINOR,
        state_version: P::STATE_VERSION,
        id: c_string(P::ID)?,
        version: c_string(P::VERSION)?,
        summary: c_string(P::SUMMARY)?,
        parameter_count: parameters.len() as u32,
        parameter_size: std::mem::size_of::<raw::Parameter>() as u32,
        parameters: permanent(parameters),
        hook_count: hooks.len() as u32,
        hook_size: std::mem::size_of::<raw::Hook>() as u32,
        hooks: permanent(hooks),
        create: Some(create::<P>),
        destroy: Some(destroy::<P>),
        save: if has_state { Some(save::<P>) } else { None },
        load: if has_state { Some(load::<P>) } else { None },
        reset: if has_state { Some(reset::<P>) } else { None },
        extension: Some(extension::<P>),
    })))
}

/// The card; made once, as the table is.
unsafe extern "C" fn extension<P: Plugin>(id: *const c_char) -> *const c_void {
    static CARD: AtomicPtr<raw::Card> = AtomicPtr::new(ptr::null_mut());
    if id.is_null() || CStr::from_ptr(id).to_bytes() != raw::CARD_ID {
        return ptr::null();
    }
    if CARD.load(Ordering::Acquire).is_null() {
        let (formula, reference) = match (c_string(P::FORMULA), c_string(P::REFERENCE)) {
            (Ok(formula), Ok(reference)) => (formula, reference),
            _ => return ptr::null(),
        };
        let size = std::mem::size_of::<raw::Card>() as u32;
        let card = Box::into_raw(Box::new(raw::Card { struct_size: size, reserved: 0, formula, reference }));
        // A library holds one plugin, and the host asks from one thread at a time; a second card would be lost, no more.
        CARD.store(card, Ordering::Release);
    }
    CARD.load(Ordering::Acquire).cast()
}

fn parameter(row: &ParameterRow) -> Result<raw::Parameter> {
    let mut choices = row.choices.iter().map(|choice| c_string(choice)).collect::<Result<Vec<_>>>()?;
    if !choices.is_empty() {
        choices.push(ptr::null());
    }
    Ok(raw::Parameter {
        name: c_string(row.name)?,
        kind: row.kind,
        reserved: 0,
        default_value: c_string(&row.default)?,
        minimum: row.minimum,
        maximum: row.maximum,
        choices: permanent(choices),
        doc: c_string(row.doc)?,
    })
}

fn c_string(text: &str) -> Result<*const c_char> {
    Ok(CString::new(text).map_err(|_| format!("{:?} has a zero byte", text))?.into_raw())
}

/// NULL for an empty list.
fn permanent<T>(items: Vec<T>) -> *const T {
    if items.is_empty() {
        ptr::null()
    } else {
        Box::leak(items.into_boxed_slice()).as_ptr()
    }
}

unsafe extern "C" fn run<P: Plugin>(
    this: *mut c_void,
    context: *mut c_void,
    slots: *const raw::Slot,
    error: *mut raw::Error,
) -> i32 {
    reporting(error, || {
        let hook = &*context.cast::<HookContext<P>>();
        let slots = if hook.arity == 0 { &[] } else { std::slice::from_raw_parts(slots, hook.arity) };
        (hook.run)(instance(this)?, &Frame::new(slots))
    })
}

unsafe extern "C" fn create<P: Plugin>(
    _host: *const c_void,
    settings: *const raw::Settings,
    this: *mut *mut c_void,
    error: *mut raw::Error,
) -> i32 {
    reporting(error, || {
        let settings = settings.as_ref().ok_or("the host passed no settings")?;
        let plugin = Box::new(P::new(&Settings::new(settings))?);
        this.write(Box::into_raw(plugin).cast());
        Ok(())
    })
}

unsafe extern "C" fn destroy<P: Plugin>(this: *mut c_void) {
    if !this.is_null() {
        // A panic in a destructor has nobody to report to.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(Box::from_raw(this.cast::<P>()))));
    }
}

unsafe extern "C" fn save<P: Plugin>(this: *mut c_void, output: *const raw::Output, error: *mut raw::Error) -> i32 {
    reporting(error, || {
        let output = output.as_ref().ok_or("the host passed no output")?;
        instance::<P>(this)?.save(&mut Writer::new(output))
    })
}

unsafe extern "C" fn load<P: Plugin>(
    this: *mut c_void,
    input: *const raw::Input,
    version: u32,
    error: *mut raw::Error,
) -> i32 {
    reporting(error, || {
        let input = input.as_ref().ok_or("the host passed no input")?;
        instance::<P>(this)?.load(&mut Reader::new(input), version)
    })
}

unsafe extern "C" fn reset<P: Plugin>(this: *mut c_void, error: *mut raw::Error) -> i32 {
    reporting(error, || instance::<P>(this)?.reset())
}

unsafe fn instance<'a, P>(this: *mut c_void) -> Result<&'a mut P> {
    this.cast::<P>().as_mut().ok_or_else(|| "the host passed no instance".into())
}

/// Turns an error or a panic into a status and a message in the host's buffer, cut to fit it between characters.
unsafe fn reporting(error: *mut raw::Error, body: impl FnOnce() -> Result) -> i32 {
    let failure: Error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return raw::OK,
        Ok(Err(failure)) => failure,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            format!("it panicked: {}", text.unwrap_or("no message")).into()
        }
    };
    if let Some(error) = error.as_mut() {
        let text = failure.to_string();
        let mut end = text.len().min(raw::MESSAGE_CAPACITY - 1);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        error.message[..end].copy_from_slice(&text.as_bytes()[..end]);
        error.message[end] = 0;
    }
    raw::FAILED
}
