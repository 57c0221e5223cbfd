//! Writing an opened model: as GGUF, as a legacy ggml file, as a folder for Transformers.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use gristmill_arch::Dialect;
use gristmill_convert::{ConvertOptions, Event, OutType, Report, Respelled};
use gristmill_tensor::DType;

use crate::folder::write_folder;
use crate::formats::GGML;
use crate::{Opened, Result, Target};

/// Follows a conversion and may stop it.
pub(crate) type Progress<'a> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'a;

impl Opened {
    /// Converts the model to a GGUF file at `output`, or inside it when it is a folder.
    ///
    /// Memory stays within the budget only if the model was opened with [`Access::Read`](gristmill_tensor::Access).
    ///
    /// # Errors
    /// As [`program`](Self::program), and [`Error::Convert`](crate::Error::Convert); the output then does not exist.
    pub fn convert(
        &self,
        output: impl AsRef<Path>,
        options: &ConvertOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Report> {
        self.convert_to(Target::Gguf, output, options, progress)
    }

    /// Converts the model to what `target` says. A folder is made at `output`, or inside it when that is there
    /// already; of the options, the mixture of types is the target's.
    ///
    /// # Errors
    /// As [`convert`](Self::convert), and when the target has no place for something of the model.
    pub fn convert_to(
        &self,
        target: Target,
        output: impl AsRef<Path>,
        options: &ConvertOptions,
        progress: &mut Progress<'_>,
    ) -> Result<Report> {
        let output = output.as_ref();
        // A file that contradicts its architecture would only be found out when it is run.
        self.program()?;
        let options = &ConvertOptions { mixture: target.mixture(), ..options.clone() };
        let respelled =
            |dialect| Respelled::new(Arc::clone(self.checkpoint()), dialect, target.name());
        let mut report = match target.container() {
            Some(container) => {
                let format = GGML.writing(container, options.quant_version);
                let source = respelled(Dialect::Ggml)?;
                gristmill_convert::convert(&source, &format, output, options, progress)?
            }
            None if target.is_folder() => {
                let source = respelled(Dialect::HuggingFace)?;
                write_folder(self, &source, target, output, options, progress)?
            }
            None => gristmill_convert::convert(
                &**self.checkpoint(),
                &gristmill_gguf::Gguf,
                output,
                options,
                progress,
            )?,
        };
        report.notes.splice(0..0, self.notes().iter().cloned());
        Ok(report)
    }

    /// The type to write the model in when nobody asked for one: what is quantized stays as it is, and floats become
    /// F16; in folders for Transformers, which hold only floats, they keep their precision.
    pub fn default_outtype(&self, target: Target) -> OutType {
        let matrices = || self.checkpoint().tensors().iter().filter(|info| info.shape.rank() >= 2);
        let any = |dtype: DType| matrices().any(|info| info.dtype == dtype);
        match target.is_folder() {
            false if matrices().any(|info| info.dtype.is_quantized()) => OutType::COPY,
            true if any(DType::BF16) => OutType::BF16,
            true if any(DType::F32) && matrices().all(|info| info.dtype == DType::F32) => {
                OutType::F32
            }
            _ => OutType::F16,
        }
    }
}
