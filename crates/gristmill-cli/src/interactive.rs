//! A conversation, or plain continuation, at the terminal.

use std::io::{BufRead, IsTerminal};

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::exit::{Failure, Result};

/// Where the user's lines come from: an editor with history at a terminal, plain lines from a pipe.
pub(crate) enum Input {
    /// A terminal.
    Editor(Box<DefaultEditor>),
    /// A pipe or a file.
    Lines,
}

impl Input {
    /// Standard input, whatever it is.
    pub(crate) fn new() -> Result<Input> {
        if !std::io::stdin().is_terminal() {
            return Ok(Input::Lines);
        }
        let editor = DefaultEditor::new().map_err(|error| Failure::Message(error.to_string()))?;
        eprintln!("Say something; Ctrl-C stops an answer, Ctrl-D ends.");
        Ok(Input::Editor(Box::new(editor)))
    }

    /// The next line that is not empty; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<String>> {
        loop {
            let line = match self {
                Input::Editor(editor) => match editor.readline("> ") {
                    Ok(line) => {
                        // History is a comfort: a line that it cannot take is no failure.
                        let _ = editor.add_history_entry(&line);
                        line
                    }
                    Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(None),
                    Err(error) => return Err(Failure::Message(error.to_string())),
                },
                Input::Lines => {
                    let mut line = String::new();
                    let read = std::io::stdin().lock().read_line(&mut line);
                    if read.map_err(|error| Failure::Message(format!("standard input: {error}")))?
                        == 0
                    {
                        return Ok(None);
                    }
                    line.trim_end_matches(['\n', '\r']).to_string()
                }
            };
            if !line.trim().is_empty() {
                return Ok(Some(line));
            }
        }
    }
}
