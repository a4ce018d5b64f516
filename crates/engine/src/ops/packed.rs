//! Constants that an operator keeps in packed form.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Packed forms of one constant input, made when they are first asked for.
pub(super) struct Packed<K, T> {
    forms: Mutex<Vec<(K, Arc<T>)>>,
    made: AtomicBool,
    bytes: AtomicUsize,
}

impl<K: PartialEq, T> Packed<K, T> {
    pub(super) fn new() -> Packed<K, T> {
        Packed { forms: Mutex::default(), made: AtomicBool::new(false), bytes: AtomicUsize::new(0) }
    }

    /// The form of that key; where it does not exist, `make` makes it, if it can.
    pub(super) fn get<E>(
        &self,
        key: K,
        make: impl FnOnce() -> Result<Option<(T, usize)>, E>,
    ) -> Result<Option<Arc<T>>, E> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, form)) = forms.iter().find(|(known, _)| *known == key) {
            return Ok(Some(form.clone()));
        }
        let Some((form, bytes)) = make()? else { return Ok(None) };
        let form = Arc::new(form);
        forms.push((key, form.clone()));
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.made.store(true, Ordering::Release);
        Ok(Some(form))
    }

    /// Whether any form exists.
    pub(super) fn is_made(&self) -> bool {
        self.made.load(Ordering::Acquire)
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}
