//! Pickles, Python's format for objects, read as a tree of values.
//!
//! A pickle is a program for a machine with a stack. Here it builds data and
//! nothing else: of the opcodes only those that build are known, of Python's
//! names only those in [`Global::find`], and a call of one of them becomes a
//! node of the tree. An opcode takes time and memory by the bytes it has in the
//! pickle, whatever sizes it claims, and the values' number has a bound.

use crate::{Error, Result};
use safetensors::Dtype;
use std::fmt;

/// A value of the tree. A value may be in several places, in itself too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

#[derive(Debug)]
pub(super) enum Value<'a> {
    None,
    Int(i64),
    Str(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// A function with its arguments, a tuple.
    Call(Global, Id),
    /// What PyTorch keeps outside of the pickle, by its description.
    Storage(Id),
    /// What no state_dict needs.
    Other,
}

/// A name from a Python module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    OrderedDict,
    /// `_rebuild_tensor_v2` and its ancestor.
    Tensor,
    /// `_rebuild_tensor_v3`: the type of its numbers is an argument.
    TensorOfType,
    Parameter,
    /// A storage of such numbers.
    Storage(Dtype),
    Dtype(Dtype),
    /// Something harmless that a checkpoint may have beside its state_dict.
    Other,
}

impl Global {
    /// The names that are known.
    fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Self::Tensor,
            ("torch._utils", "_rebuild_tensor_v3") => Self::TensorOfType,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::Parameter
            }
            ("torch.storage", "UntypedStorage") => Self::Storage(Dtype::U8),
            ("torch", "Size" | "device")
            | ("builtins" | "__builtin__", "set" | "bytearray" | "complex")
            | ("collections", "Counter")
            | ("_codecs", "encode") => Self::Other,
            ("torch", name) => match name.strip_suffix("Storage") {
                Some(kind) => Self::Storage(match kind {
                    "Half" => Dtype::F16,
                    "BFloat16" => Dtype::BF16,
                    "Float" => Dtype::F32,
                    "Double" => Dtype::F64,
                    "Char" => Dtype::I8,
                    "Short" => Dtype::I16,
                    "Int" => Dtype::I32,
                    "Long" => Dtype::I64,
                    "Byte" | "Untyped" => Dtype::U8,
                    "Bool" => Dtype::BOOL,
                    _ => return None,
                }),
                None => Self::Dtype(match name {
                    "float16" => Dtype::F16,
                    "bfloat16" => Dtype::BF16,
                    "float32" => Dtype::F32,
                    "float64" => Dtype::F64,
                    "int8" => Dtype::I8,
                    "int16" => Dtype::I16,
                    "int32" => Dtype::I32,
                    "int64" => Dtype::I64,
                    "uint8" => Dtype::U8,
                    "uint16" => Dtype::U16,
                    "uint32" => Dtype::U32,
                    "uint64" => Dtype::U64,
                    "bool" => Dtype::BOOL,
                    "float8_e4m3fn" => Dtype::F8_E4M3,
                    "float8_e5m2" => Dtype::F8_E5M2,
                    _ => return None,
                }),
            },
            _ => return None,
        })
    }
}

/// For messages: what it is, and a string or number itself.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        match self {
            Self::None => f.write_str("None"),
            Self::Int(n) => write!(f, "{n}"),
            Self::Str(text) => {
                let shown: String = text.chars().take(SHOWN).collect();
                let more = if shown.len() < text.len() { ".." } else { "" };
                write!(f, "{}{more}", shown.escape_debug())
            }
            Self::Bytes(_) => f.write_str("bytes"),
            Self::Tuple(_) => f.write_str("a tuple"),
            Self::List(_) => f.write_str("a list"),
            Self::Dict(_) => f.write_str("a dict"),
            Self::Global(_) => f.write_str("a class or function"),
            Self::Call(Global::Tensor | Global::TensorOfType | Global::Parameter, _) => {
                f.write_str("a tensor")
            }
            Self::Call(..) | Self::Other => f.write_str("another object"),
            Self::Storage(_) => f.write_str("a storage"),
        }
    }
}

/// A pickle's values.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    values: Vec<Value<'a>>,
    root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads the pickle at the beginning of the bytes; returns what follows it
    /// too.
    pub(super) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let mut machine = Machine::new(bytes);
        loop {
            let at = bytes.len() - machine.rest.len();
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => {
                    let values = machine.values;
                    return Ok((Self { values, root }, machine.rest));
                }
                Err(e) => return Err(e.at(format!("pickle, byte {at}"))),
            }
        }
    }

    /// The object itself.
    pub(super) fn root(&self) -> &Value<'a> {
        self.get(self.root)
    }

    pub(super) fn root_id(&self) -> Id {
        self.root
    }

    pub(super) fn get(&self, id: Id) -> &Value<'a> {
        // Ids are made by pushing to the values.
        self.values.get(id.0 as usize).unwrap_or(&Value::Other)
    }

    /// All values, in the order they were made.
    pub(super) fn values(&self) -> &[Value<'a>] {
        &self.values
    }
}

/// The deepest stack: far beyond what Python writes, which hands over the
/// items of a list or dict by the thousand.
const DEEPEST: usize = 1 << 16;

/// Checkpoints have thousands of values. A file cannot ask for more memory
/// than so many take.
const MOST_VALUES: usize = 1 << 19;

struct Machine<'a> {
    rest: &'a [u8],
    values: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack where an open tuple, list or dict began.
    marks: Vec<usize>,
    /// Values to come back to, by place.
    memo: Vec<Id>,
    /// How many items may still be copied from one dict to another.
    copies: usize,
}

/// Values made once.
const NONE: Id = Id(0);
const OTHER: Id = Id(1);

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            values: vec![Value::None, Value::Other],
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            copies: bytes.len(),
        }
    }

    /// Runs one opcode; the last one returns the object.
    fn step(&mut self) -> Result<Option<Id>> {
        let [opcode] = self.take()?;
        match opcode {
            // PROTO, FRAME
            0x80 => match self.take()? {
                [0..=5] => {}
                [version] => {
                    return Err(Error::file(format!(
                        "protocol {version} is not known; save with torch.save's default"
                    )));
                }
            },
            0x95 => {
                self.take::<8>()?;
            }
            // NONE, NEWTRUE, NEWFALSE, BINFLOAT
            b'N' => self.push(NONE)?,
            0x88 | 0x89 => self.push(OTHER)?,
            b'G' => {
                self.take::<8>()?;
                self.push(OTHER)?;
            }
            // BININT, BININT1, BININT2, LONG1
            b'J' => {
                let n = i32::from_le_bytes(self.take()?);
                self.make(Value::Int(n.into()))?;
            }
            b'K' => {
                let [n] = self.take()?;
                self.make(Value::Int(n.into()))?;
            }
            b'M' => {
                let n = u16::from_le_bytes(self.take()?);
                self.make(Value::Int(n.into()))?;
            }
            0x8a => {
                let [length] = self.take()?;
                let bytes = self.take_slice(length.into())?;
                self.make(long(bytes))?;
            }
            // BINUNICODE, SHORT_BINUNICODE, and Python 2's BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.take()?);
                self.text(length)?;
            }
            0x8c | b'U' => {
                let [length] = self.take()?;
                self.text(length.into())?;
            }
            // BINBYTES, SHORT_BINBYTES
            b'B' => {
                let length = u32::from_le_bytes(self.take()?);
                let bytes = self.take_slice(length)?;
                self.make(Value::Bytes(bytes))?;
            }
            b'C' => {
                let [length] = self.take()?;
                let bytes = self.take_slice(length.into())?;
                self.make(Value::Bytes(bytes))?;
            }
            // EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT
            b')' => self.make(Value::Tuple(Vec::new()))?,
            b']' => self.make(Value::List(Vec::new()))?,
            b'}' => self.make(Value::Dict(Vec::new()))?,
            // MARK, TUPLE, TUPLE1 to TUPLE3
            b'(' => {
                if self.marks.len() >= DEEPEST {
                    return Err(too_deep());
                }
                self.marks.push(self.stack.len());
            }
            b't' => {
                let items = self.pop_mark()?;
                self.make(Value::Tuple(items))?;
            }
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0..opcode - 0x84 {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.make(Value::Tuple(items))?;
            }
            // APPEND, APPENDS, SETITEM, SETITEMS
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set(&items)?;
            }
            // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
            b'q' => {
                let [place] = self.take()?;
                self.remember(place.into())?;
            }
            b'r' => {
                let place = u32::from_le_bytes(self.take()?);
                self.remember(place)?;
            }
            0x94 => {
                let place = u32::try_from(self.memo.len());
                self.remember(place.unwrap_or(u32::MAX))?;
            }
            b'h' => {
                let [place] = self.take()?;
                self.recall(place.into())?;
            }
            b'j' => {
                let place = u32::from_le_bytes(self.take()?);
                self.recall(place)?;
            }
            // GLOBAL, STACK_GLOBAL
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (self.value(module), self.value(name)) {
                    (&Value::Str(module), &Value::Str(name)) => self.global(module, name)?,
                    _ => return Err(Error::file("the name of a global is not a string")),
                }
            }
            // REDUCE, NEWOBJ, BUILD, BINPERSID
            b'R' | 0x81 => self.call()?,
            b'b' => {
                // The attributes of an OrderedDict: versions of its modules.
                self.pop()?;
                self.top_dict("attributes can be given to")?;
            }
            b'Q' => {
                let description = self.pop()?;
                self.make(Value::Storage(description))?;
            }
            // STOP
            b'.' => return self.pop().map(Some),
            other => {
                return Err(Error::file(format!(
                    "the opcode {:?} is not one that torch.save writes",
                    char::from(other)
                )));
            }
        }
        Ok(None)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, length: u32) -> Result<&'a [u8]> {
        let length = usize::try_from(length).map_err(|_| cut())?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn line(&mut self) -> Result<&'a str> {
        let end = self.rest.iter().position(|b| *b == b'\n').ok_or_else(cut)?;
        let (line, rest) = self.rest.split_at_checked(end).ok_or_else(cut)?;
        self.rest = rest.get(1..).unwrap_or_default();
        std::str::from_utf8(line).map_err(|_| Error::file("the name of a global is not UTF-8"))
    }

    /// A string; Python's may be no legal Unicode.
    fn text(&mut self, length: u32) -> Result<()> {
        let bytes = self.take_slice(length)?;
        self.make(std::str::from_utf8(bytes).map_or(Value::Bytes(bytes), Value::Str))
    }

    fn value(&self, id: Id) -> &Value<'a> {
        self.values.get(id.0 as usize).unwrap_or(&Value::Other)
    }

    fn push(&mut self, id: Id) -> Result<()> {
        if self.stack.len() >= DEEPEST {
            return Err(too_deep());
        }
        self.stack.push(id);
        Ok(())
    }

    /// Pushes a new value.
    fn make(&mut self, value: Value<'a>) -> Result<()> {
        let id = match u32::try_from(self.values.len()) {
            Ok(id) if self.values.len() < MOST_VALUES => Id(id),
            _ => {
                return Err(Error::file(format!(
                    "the pickle has more than {MOST_VALUES} values; save model.state_dict() by itself"
                )));
            }
        };
        self.values.push(value);
        self.push(id)
    }

    /// The last value since the last mark.
    fn top(&self) -> Result<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let above = self.stack.get(floor..).and_then(<[Id]>::last);
        above
            .copied()
            .ok_or_else(|| Error::file("the opcode finds nothing on the stack"))
    }

    fn pop(&mut self) -> Result<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    /// All values since the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| Error::file("the opcode finds no mark on the stack"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn remember(&mut self, place: u32) -> Result<()> {
        let id = self.top()?;
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        // Python counts its places, from 0 or from 1.
        if place > self.memo.len() + 1 || place > 2 * MOST_VALUES {
            return Err(Error::file(format!(
                "a value is put at place {place}, after {} others",
                self.memo.len()
            )));
        }
        if place >= self.memo.len() {
            self.memo.resize(place, OTHER);
            self.memo.push(id);
        } else if let Some(old) = self.memo.get_mut(place) {
            *old = id;
        }
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<()> {
        let at = usize::try_from(place).unwrap_or(usize::MAX);
        match self.memo.get(at) {
            Some(id) => self.push(*id),
            None => Err(Error::file(format!("nothing was put at place {place}"))),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        match Global::find(module, name) {
            Some(global) => self.make(Value::Global(global)),
            None => Err(Error::file(format!(
                "the file asks for {}.{}, and only what a state_dict needs is read; save model.state_dict() by itself",
                Value::Str(module),
                Value::Str(name)
            ))),
        }
    }

    /// The list, or another kind of value, at the top.
    fn top_value(&mut self) -> Result<&mut Value<'a>> {
        let id = self.top()?;
        let value = self.values.get_mut(id.0 as usize);
        value.ok_or_else(|| Error::file("the opcode finds nothing on the stack"))
    }

    fn append(&mut self, items: &[Id]) -> Result<()> {
        match self.top_value()? {
            Value::List(list) => list.extend(items),
            other => {
                return Err(Error::file(format!(
                    "items can be added to a list, not to {other}"
                )));
            }
        }
        Ok(())
    }

    fn top_dict(&mut self, what: &str) -> Result<&mut Vec<(Id, Id)>> {
        match self.top_value()? {
            Value::Dict(dict) => Ok(dict),
            other => Err(Error::file(format!("{what} a dict, not {other}"))),
        }
    }

    fn set(&mut self, items: &[Id]) -> Result<()> {
        let dict = self.top_dict("entries can be added to")?;
        let (pairs, odd) = items.as_chunks();
        if !odd.is_empty() {
            return Err(Error::file("a dict is given a key without a value"));
        }
        dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let (Value::Global(function), Value::Tuple(items)) =
            (self.value(function), self.value(arguments))
        else {
            return Err(Error::file(format!(
                "{} is called with {}",
                self.value(function),
                self.value(arguments)
            )));
        };
        match (function, &items[..]) {
            (Global::OrderedDict, []) => self.make(Value::Dict(Vec::new())),
            (Global::OrderedDict, [list]) => {
                let dict = self.pairs(*list)?;
                self.make(Value::Dict(dict))
            }
            (Global::Other, _) => self.push(OTHER),
            (function, _) => {
                let function = *function;
                self.make(Value::Call(function, arguments))
            }
        }
    }

    /// Python 2 gives an OrderedDict its entries as a list of pairs.
    fn pairs(&mut self, list: Id) -> Result<Vec<(Id, Id)>> {
        let no_pairs = || Error::file("an OrderedDict is made of something else than pairs");
        let Value::List(list) = self.value(list) else {
            return Err(no_pairs());
        };
        // A list can be given again and again in few bytes.
        let copies = self.copies.checked_sub(list.len()).ok_or_else(too_deep)?;
        let pair = |id: &Id| match self.value(*id) {
            Value::Tuple(pair) | Value::List(pair) => match pair[..] {
                [key, value] => Ok((key, value)),
                _ => Err(no_pairs()),
            },
            _ => Err(no_pairs()),
        };
        let dict = list.iter().map(pair).collect::<Result<_>>()?;
        self.copies = copies;
        Ok(dict)
    }
}

/// A whole number, little-endian, of any length.
fn long(bytes: &[u8]) -> Value<'_> {
    let negative = bytes.last().is_some_and(|b| b >> 7 == 1);
    let mut wide = [if negative { 0xff } else { 0 }; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Value::Int(i64::from_le_bytes(wide))
        }
        None => Value::Bytes(bytes),
    }
}

fn cut() -> Error {
    Error::file("the file ends within the pickle; was it cut off?")
}

fn too_deep() -> Error {
    Error::file("the pickle holds more than its bytes can mean")
}
