//! Ctrl-C: the first asks the work to stop and clean up, the second ends the program.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// From here on, Ctrl-C is noticed by [`check`].
pub(crate) fn listen() {
    // Without a handler Ctrl-C still ends the program, only less tidily, so a failure here is no reason to stop.
    let _ = ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(crate::exit::Exit::Interrupted as i32);
        }
    });
}

/// Whether to go on.
pub(crate) fn check() -> ControlFlow<()> {
    if ASKED.load(Ordering::SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// Whether the user asked to stop since the last call; forgets it.
pub(crate) fn take() -> bool {
    ASKED.swap(false, Ordering::SeqCst)
}
