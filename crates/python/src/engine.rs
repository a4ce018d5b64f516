use crate::array::{InputArray, into_array};
use crate::errors::{self, detached};
use crate::spare_outputs::SpareOutputs;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use std::sync::Arc;
use vedette_engine::{Options, Program};
use vedette_simd::Isa;
use vedette_tensor::{Tensor, View};

/// A program ready to run.
#[pyclass(frozen, module = "vedette._native")]
pub struct Engine {
    engine: vedette_engine::Engine,
    spare: Arc<SpareOutputs>,
}

fn level(py: Python<'_>, name: Option<&str>) -> PyResult<Option<Isa>> {
    let Some(name) = name else { return Ok(None) };
    let names: Vec<&str> = Isa::available().into_iter().map(Isa::name).collect();
    Isa::from_name(name).map(Some).ok_or_else(|| {
        errors::INPUT.error(py, format!("isa: this CPU has {}, got {name:?}", names.join(", ")))
    })
}

fn arrays<'py>(objects: &[Bound<'py, PyAny>]) -> PyResult<Vec<InputArray<'py>>> {
    objects.iter().map(InputArray::new).collect()
}

impl Engine {
    fn outputs<'py>(&self, py: Python<'py>, tensors: Vec<Tensor>) -> PyResult<Bound<'py, PyList>> {
        let tensors = tensors.into_iter().enumerate();
        let arrays: Vec<_> = tensors
            .map(|(number, tensor)| into_array(py, tensor, &self.spare, number))
            .collect::<PyResult<_>>()?;
        PyList::new(py, arrays)
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (program, constants, threads=0, isa=None, memory_limit=None, strip_bytes=None, mapped=false))]
    #[expect(clippy::too_many_arguments, reason = "all but two are keywords in Python")]
    fn new(
        py: Python<'_>,
        program: &str,
        constants: Vec<Bound<'_, PyAny>>,
        threads: usize,
        isa: Option<&str>,
        memory_limit: Option<usize>,
        strip_bytes: Option<usize>,
        mapped: bool,
    ) -> PyResult<Engine> {
        let options = Options { threads, isa: level(py, isa)?, memory_limit, strip_bytes };
        let program = detached(py, || Program::parse(program))?;
        let constants = constants
            .iter()
            .map(|array| {
                let array = InputArray::new(array)?;
                if mapped { array.to_kept_tensor() } else { array.to_tensor() }
            })
            .collect::<PyResult<Vec<_>>>()?;
        let engine = detached(py, || vedette_engine::Engine::new(program, constants, options))?;
        Ok(Engine { engine, spare: Arc::new(SpareOutputs::new()) })
    }

    fn run<'py>(&self, py: Python<'py>, inputs: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyList>> {
        let arrays = arrays(&inputs)?;
        let views: Vec<View<'_>> = arrays.iter().map(InputArray::view).collect();
        let tensors = detached(py, || {
            let mut outputs = self.spare.take();
            self.engine.run_into(&views, &mut outputs)?;
            Ok(outputs)
        })?;
        self.outputs(py, tensors)
    }

    fn profile<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let arrays = arrays(&inputs)?;
        let views: Vec<View<'_>> = arrays.iter().map(InputArray::view).collect();
        let (tensors, entries) = detached(py, || {
            let mut outputs = self.spare.take();
            let entries = self.engine.profile_into(&views, &mut outputs)?;
            Ok((outputs, entries))
        })?;
        let lines = PyList::empty(py);
        for entry in entries {
            let line = PyDict::new(py);
            line.set_item("name", entry.name)?;
            line.set_item("op", entry.op)?;
            line.set_item("shape", entry.shape)?;
            line.set_item("microseconds", entry.microseconds)?;
            line.set_item("multiply_accumulates", entry.multiply_accumulates)?;
            line.set_item("precision", entry.precision)?;
            line.set_item("bytes", entry.bytes)?;
            lines.append(line)?;
        }
        Ok((self.outputs(py, tensors)?, lines))
    }

    fn memory<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let used = detached(py, || Ok(self.engine.memory()))?;
        let sizes = PyDict::new(py);
        sizes.set_item("constants", used.constants)?;
        sizes.set_item("packed", used.packed)?;
        sizes.set_item("arena", used.arena)?;
        sizes.set_item("plans", used.plans)?;
        Ok(sizes)
    }

    fn plan_microseconds(&self, py: Python<'_>, inputs: Vec<Bound<'_, PyAny>>) -> PyResult<f64> {
        let arrays = arrays(&inputs)?;
        let views: Vec<View<'_>> = arrays.iter().map(InputArray::view).collect();
        detached(py, || self.engine.planning_seconds(&views).map(|seconds| seconds * 1e6))
    }
}

/// Names of the operators the engine has, sorted.
#[pyfunction]
pub fn supported_operators() -> Vec<&'static str> {
    vedette_engine::supported_operators()
}
