//! The tensors in a pickle: which dict is the state_dict, and what PyTorch
//! says of each tensor.

use super::Tensor;
use super::pickle::{Global, Id, Pickle, Value};
use crate::{Error, Result};
use safetensors::Dtype;
use std::collections::{HashMap, HashSet, VecDeque};

/// A storage as the pickle describes it.
#[derive(Debug)]
pub(super) struct Storage<'a> {
    pub(super) key: &'a str,
    /// How many numbers it holds.
    pub(super) count: usize,
    pub(super) bytes: usize,
    dtype: Dtype,
}

/// Keys are counters or addresses.
const LONGEST_KEY: usize = 64;

impl<'a> Storage<'a> {
    /// Reads the description `('storage', type, key, place, count)`; the older
    /// format has a sixth item, `None` since PyTorch 0.4.
    pub(super) fn read(pickle: &Pickle<'a>, description: Id) -> Result<Self> {
        let Value::Tuple(items) = pickle.get(description) else {
            return Err(Error::file(format!(
                "expected the description of a storage, got {}",
                pickle.get(description)
            )));
        };
        let items: Vec<_> = items.iter().take(7).map(|id| pickle.get(*id)).collect();
        let (dtype, key, count) = match items[..] {
            [
                Value::Str("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                _,
                Value::Int(count),
            ]
            | [
                Value::Str("storage"),
                Value::Global(Global::Storage(dtype)),
                Value::Str(key),
                _,
                Value::Int(count),
                Value::None,
            ] if key.len() <= LONGEST_KEY => (*dtype, *key, *count),
            _ => {
                return Err(Error::file(
                    "the description of a storage is not one of PyTorch's",
                ));
            }
        };
        let count = usize::try_from(count).ok();
        let sizes = count.and_then(|n| Some((n, n.checked_mul(width(dtype))?)));
        let (count, bytes) = sizes
            .ok_or_else(|| Error::file(format!("storage {key}: no file holds so many numbers")))?;
        Ok(Self {
            key,
            count,
            bytes,
            dtype,
        })
    }
}

fn width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// The tensors of a file in their order, and where in its object they are.
#[derive(Debug)]
pub(in crate::weights) struct StateDict<'a> {
    pub(in crate::weights) tensors: Vec<(String, Tensor<'a>)>,
    /// Keys that lead there, joined by dots; empty where it is the object.
    pub(in crate::weights) place: String,
}

/// Keys under which checkpoints have the state_dict of their model.
const USUAL: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// How many keys may lead to the state_dict.
const DEEPEST: usize = 2;

/// Tensors may share a storage, but not so often that a small file becomes a
/// vast model: the tensors' numbers together take at most so many times the
/// file's bytes.
const SHARED: usize = 16;

/// More axes than any layer's parameters have.
const MOST_AXES: usize = 16;

impl<'a> StateDict<'a> {
    /// Finds the state_dict and reads it.
    pub(super) fn find(
        pickle: &Pickle<'a>,
        storages: &HashMap<&str, &'a [u8]>,
        file_len: usize,
    ) -> Result<Self> {
        let found = candidates(pickle);
        let (entries, path) = choose(&found).map_err(|e| match pickle.root() {
            Value::Dict(_) => e,
            other => Error::file(format!(
                "expected a state_dict, got {other}; save model.state_dict()"
            )),
        })?;
        let reader = Reader { pickle, storages };
        let (mut names, mut numbers) = (HashSet::new(), 0_usize);
        let mut tensors = Vec::new();
        let mut budget = file_len;
        for (key, value) in *entries {
            if !is_tensor(pickle, *value) {
                continue;
            }
            let Value::Str(name) = pickle.get(*key) else {
                return Err(Error::file(format!(
                    "the name of a tensor is not a string, but {}",
                    pickle.get(*key)
                )));
            };
            let shown = Value::Str(name);
            // Names that are there once cannot be longer than the file.
            budget = match budget.checked_sub(name.len()) {
                Some(budget) if names.insert(*name) => budget,
                _ => return Err(Error::file(format!("two tensors are named {shown}"))),
            };
            let tensor = reader.tensor(*value).map_err(|e| e.at(&shown))?;
            numbers = tensor
                .bytes()
                .and_then(|n| n.checked_add(numbers))
                .filter(|n| *n <= file_len.saturating_mul(SHARED))
                .ok_or_else(|| {
                    Error::file(format!(
                        "{shown}: with it the tensors are {SHARED} times as large as the file; save contiguous copies"
                    ))
                })?;
            tensors.push(((*name).to_owned(), tensor));
        }
        Ok(Self {
            tensors,
            place: path.join("."),
        })
    }
}

/// A dict with tensors, and the keys that lead to it.
type Candidate<'p, 'a> = (&'p [(Id, Id)], Vec<&'a str>);

/// Dicts that hold tensors, the nearest first. Each dict is looked at once,
/// however often it is there.
fn candidates<'p, 'a>(pickle: &'p Pickle<'a>) -> Vec<Candidate<'p, 'a>> {
    let mut found = Vec::new();
    let mut seen = HashSet::from([pickle.root_id()]);
    let mut queue = VecDeque::from([(pickle.root_id(), Vec::new())]);
    while let Some((id, path)) = queue.pop_front() {
        let Value::Dict(entries) = pickle.get(id) else {
            continue;
        };
        let mut any = false;
        for (key, value) in entries {
            let &Value::Str(name) = pickle.get(*key) else {
                continue;
            };
            any |= is_tensor(pickle, *value);
            let is_dict = matches!(pickle.get(*value), Value::Dict(_));
            if is_dict && path.len() < DEEPEST && seen.insert(*value) {
                let path: Vec<_> = path.iter().copied().chain([name]).collect();
                queue.push_back((*value, path));
            }
        }
        if any {
            found.push((&entries[..], path));
        }
    }
    found
}

/// The only candidate, or the only one nearest with one of the usual names.
fn choose<'c, 'p, 'a>(found: &'c [Candidate<'p, 'a>]) -> Result<&'c Candidate<'p, 'a>> {
    let usual = |c: &&Candidate<'_, '_>| c.1.last().is_some_and(|key| USUAL.contains(key));
    let mut usual = found.iter().filter(usual);
    match (found, usual.next(), usual.next()) {
        ([], ..) => Err(Error::file(
            "no state_dict in the file: no dict holds tensors",
        )),
        ([only], ..) => Ok(only),
        (_, Some(first), None) => Ok(first),
        (_, Some(first), Some(second)) if first.1.len() < second.1.len() => Ok(first),
        _ => {
            let shown = found.iter().take(8).map(|(_, path)| match &path[..] {
                [] => "the file's object itself".to_owned(),
                keys => {
                    let keys: Vec<_> = keys.iter().map(|k| Value::Str(k).to_string()).collect();
                    keys.join(".")
                }
            });
            Err(Error::file(format!(
                "{} dicts hold tensors: {}; save the state_dict that is meant by itself",
                found.len(),
                shown.collect::<Vec<_>>().join(", ")
            )))
        }
    }
}

fn is_tensor(pickle: &Pickle<'_>, id: Id) -> bool {
    use Global::{Parameter, Tensor, TensorOfType};
    matches!(
        pickle.get(id),
        Value::Call(Tensor | TensorOfType | Parameter, _)
    )
}

struct Reader<'p, 'a> {
    pickle: &'p Pickle<'a>,
    storages: &'p HashMap<&'p str, &'a [u8]>,
}

impl<'a> Reader<'_, 'a> {
    /// A tensor, also one inside of a parameter.
    fn tensor(&self, id: Id) -> Result<Tensor<'a>> {
        let not = || Error::file("not a tensor as PyTorch describes it");
        let id = match self.pickle.get(id) {
            Value::Call(Global::Parameter, arguments) => {
                *self.items(*arguments)?.first().ok_or_else(not)?
            }
            _ => id,
        };
        let Value::Call(function, arguments) = self.pickle.get(id) else {
            return Err(not());
        };
        // (storage, offset, shape, strides, requires_grad, hooks[, dtype][, flags])
        let items = self.items(*arguments)?;
        let [storage, offset, shape, strides, more @ ..] = items else {
            return Err(not());
        };
        let (dtype, flags) = match (function, more) {
            (Global::Tensor, [] | [_, _]) => (None, None),
            (Global::Tensor, [_, _, flags]) => (None, Some(flags)),
            (Global::TensorOfType, [_, _, dtype, flags @ ..]) if flags.len() <= 1 => {
                let Value::Global(Global::Dtype(dtype)) = self.pickle.get(*dtype) else {
                    return Err(not());
                };
                (Some(*dtype), flags.first())
            }
            _ => return Err(not()),
        };
        let plain = |id: &Id| match self.pickle.get(*id) {
            Value::None => true,
            Value::Dict(flags) => flags.is_empty(),
            _ => false,
        };
        if !flags.is_none_or(plain) {
            return Err(Error::file(
                "the tensor is a negated or conjugated view; save tensor.resolve_neg() or resolve_conj()",
            ));
        }
        let Value::Storage(storage) = self.pickle.get(*storage) else {
            return Err(not());
        };
        let storage = Storage::read(self.pickle, *storage)?;
        let shape = self.sizes(*shape)?;
        let strides = self.sizes(*strides)?;
        let [offset] = self.numbers(&[*offset])?[..] else {
            return Err(not());
        };
        let dtype = dtype.unwrap_or(storage.dtype);
        Tensor::strided(dtype, shape, strides, offset, self.data(&storage)?)
    }

    fn data(&self, storage: &Storage<'_>) -> Result<&'a [u8]> {
        let Some(data) = self.storages.get(storage.key) else {
            return Err(Error::file(format!(
                "the storage {} is missing in the file",
                Value::Str(storage.key)
            )));
        };
        if data.len() != storage.bytes {
            return Err(Error::file(format!(
                "storage {}: expected {} bytes, got {}",
                Value::Str(storage.key),
                storage.bytes,
                data.len()
            )));
        }
        Ok(data)
    }

    fn items(&self, id: Id) -> Result<&[Id]> {
        match self.pickle.get(id) {
            Value::Tuple(items) => Ok(items),
            other => Err(Error::file(format!("expected a tuple, got {other}"))),
        }
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>> {
        let items = self.items(id)?;
        if items.len() > MOST_AXES {
            return Err(Error::file(format!(
                "expected at most {MOST_AXES} axes, got {}",
                items.len()
            )));
        }
        self.numbers(items)
    }

    fn numbers(&self, ids: &[Id]) -> Result<Vec<usize>> {
        let number = |id: &Id| match self.pickle.get(*id) {
            Value::Int(n) => {
                usize::try_from(*n).map_err(|_| Error::file(format!("expected a size, got {n}")))
            }
            other => Err(Error::file(format!("expected a size, got {other}"))),
        };
        ids.iter().map(number).collect()
    }
}
