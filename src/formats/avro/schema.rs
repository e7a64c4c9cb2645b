//! Avro's schemas: JSON to types.
//!
//! Types stand in a list and name one another by their places, because named types may hold themselves.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// A place in [`Schema::types`].
pub(super) type TypeId = usize;

/// The longest schema, in bytes.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// A parsed schema; the root is a record.
#[derive(Debug, Clone)]
pub(super) struct Schema {
    types: Vec<Type>,
    root: TypeId,
}

/// A type, with what its logical type makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    Text,
    Fixed(usize),
    Enum(Vec<String>),
    Date,
    Time(Unit),
    Timestamp(Unit),
    /// Of so many digits after the point; in bytes, or in that many.
    Decimal {
        precision: u8,
        scale: i8,
        fixed: Option<usize>,
    },
    /// Months, days and milliseconds in twelve bytes.
    Duration,
    Array(TypeId),
    Map(TypeId),
    Union(Vec<TypeId>),
    Record(Vec<Field>),
}

/// A field of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) of: TypeId,
}

/// What times count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Schema {
    /// Reads a schema; or why it is none.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let json: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        Schema::of(&json)
    }

    /// The same of JSON that is parsed.
    pub(super) fn of(json: &Value) -> Result<Self, String> {
        let mut parser = Parser {
            types: Vec::new(),
            names: HashMap::new(),
        };
        let root = parser.parse(json, "")?;
        match &parser.types[root] {
            Type::Record(_) => Ok(Schema {
                types: parser.types,
                root,
            }),
            other => Err(format!("its outermost type is {}, not a record", other.name())),
        }
    }

    pub(super) fn get(&self, id: TypeId) -> &Type {
        &self.types[id]
    }

    /// The fields of the outermost record.
    pub(super) fn fields(&self) -> &[Field] {
        match &self.types[self.root] {
            Type::Record(fields) => fields,
            _ => &[],
        }
    }
}

impl Type {
    /// As a schema names it, for messages.
    pub(super) fn name(&self) -> String {
        let unit = |unit: &Unit| match unit {
            Unit::Millis => "millis",
            Unit::Micros => "micros",
            Unit::Nanos => "nanos",
        };
        match self {
            Type::Null => "null".to_string(),
            Type::Boolean => "boolean".to_string(),
            Type::Int => "int".to_string(),
            Type::Long => "long".to_string(),
            Type::Float => "float".to_string(),
            Type::Double => "double".to_string(),
            Type::Bytes => "bytes".to_string(),
            Type::Text => "string".to_string(),
            Type::Fixed(size) => format!("fixed({size})"),
            Type::Enum(_) => "enum".to_string(),
            Type::Date => "date".to_string(),
            Type::Time(of) => format!("time-{}", unit(of)),
            Type::Timestamp(of) => format!("timestamp-{}", unit(of)),
            Type::Decimal { precision, scale, .. } => format!("decimal({precision},{scale})"),
            Type::Duration => "duration".to_string(),
            Type::Array(_) => "array".to_string(),
            Type::Map(_) => "map".to_string(),
            Type::Union(_) => "union".to_string(),
            Type::Record(_) => "record".to_string(),
        }
    }
}

struct Parser {
    types: Vec<Type>,
    /// Named types by their full names.
    names: HashMap<String, TypeId>,
}

impl Parser {
    fn add(&mut self, of: Type) -> TypeId {
        self.types.push(of);
        self.types.len() - 1
    }

    /// A type. JSON nests as deep as its parser lets it, so that this does not go deeper.
    fn parse(&mut self, json: &Value, namespace: &str) -> Result<TypeId, String> {
        match json {
            Value::String(name) => self.named(name, namespace),
            Value::Array(branches) => {
                let branches = branches.iter().map(|branch| self.parse(branch, namespace));
                let branches = branches.collect::<Result<Vec<_>, _>>()?;
                if branches
                    .iter()
                    .any(|branch| matches!(self.types[*branch], Type::Union(_)))
                {
                    return Err("a union stands in a union".to_string());
                }
                Ok(self.add(Type::Union(branches)))
            }
            Value::Object(object) => self.object(object, namespace),
            other => Err(format!("{other} is not a type")),
        }
    }

    /// A type by its name alone.
    fn named(&mut self, name: &str, namespace: &str) -> Result<TypeId, String> {
        let simple = match name {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "bytes" => Type::Bytes,
            "string" => Type::Text,
            _ => {
                let found = self
                    .names
                    .get(&full_name(name, namespace))
                    .or_else(|| self.names.get(name));
                return found.copied().ok_or_else(|| format!("there is no type '{name}'"));
            }
        };
        Ok(self.add(simple))
    }

    fn object(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        let of = object.get("type").ok_or("a type lacks its 'type'")?;
        match of.as_str() {
            Some("record" | "error") => self.record(object, namespace),
            Some("enum") => {
                let symbols = object
                    .get("symbols")
                    .and_then(Value::as_array)
                    .ok_or("an enum lacks its 'symbols'")?;
                let symbols = symbols.iter().map(|symbol| symbol.as_str().map(str::to_string));
                let symbols: Option<Vec<String>> = symbols.collect();
                let id = self.add(Type::Enum(symbols.ok_or("a symbol of an enum is a string")?));
                self.name(object, namespace, id)?;
                Ok(id)
            }
            Some("fixed") => {
                let size = object
                    .get("size")
                    .and_then(Value::as_u64)
                    .and_then(|size| usize::try_from(size).ok());
                let size = size
                    .filter(|size| *size <= MAX_BYTES)
                    .ok_or("a fixed lacks its 'size'")?;
                let of = logical(Type::Fixed(size), object)?;
                let id = self.add(of);
                self.name(object, namespace, id)?;
                Ok(id)
            }
            Some("array") => {
                let items = self.parse(object.get("items").ok_or("an array lacks its 'items'")?, namespace)?;
                Ok(self.add(Type::Array(items)))
            }
            Some("map") => {
                let values = self.parse(object.get("values").ok_or("a map lacks its 'values'")?, namespace)?;
                Ok(self.add(Type::Map(values)))
            }
            _ => {
                let id = self.parse(of, namespace)?;
                let marked = logical(self.types[id].clone(), object)?;
                match marked == self.types[id] {
                    true => Ok(id),
                    false => Ok(self.add(marked)),
                }
            }
        }
    }

    fn record(&mut self, object: &Map<String, Value>, namespace: &str) -> Result<TypeId, String> {
        // It has its name before its fields, which may hold it.
        let id = self.add(Type::Record(Vec::new()));
        let namespace = self.name(object, namespace, id)?;
        let fields = object
            .get("fields")
            .and_then(Value::as_array)
            .ok_or("a record lacks its 'fields'")?;
        let mut parsed: Vec<Field> = Vec::with_capacity(fields.len());
        for field in fields {
            let name = field
                .get("name")
                .and_then(Value::as_str)
                .ok_or("a field lacks its 'name'")?;
            let of = field
                .get("type")
                .ok_or_else(|| format!("the field '{name}' lacks its 'type'"))?;
            let of = self
                .parse(of, &namespace)
                .map_err(|reason| format!("field '{name}': {reason}"))?;
            if parsed.iter().any(|field| field.name == name) {
                return Err(format!("there are two fields '{name}'"));
            }
            parsed.push(Field {
                name: name.to_string(),
                of,
            });
        }
        self.types[id] = Type::Record(parsed);
        Ok(id)
    }

    /// Notes the name of a type; the namespace of what stands in it.
    fn name(&mut self, object: &Map<String, Value>, namespace: &str, id: TypeId) -> Result<String, String> {
        let name = object
            .get("name")
            .and_then(Value::as_str)
            .ok_or("a named type lacks its 'name'")?;
        let namespace = object.get("namespace").and_then(Value::as_str).unwrap_or(namespace);
        let full = full_name(name, namespace);
        let namespace = full.rsplit_once('.').map_or("", |(namespace, _)| namespace).to_string();
        match self.names.insert(full, id) {
            None => Ok(namespace),
            Some(_) => Err(format!("there are two types '{name}'")),
        }
    }
}

fn full_name(name: &str, namespace: &str) -> String {
    match name.contains('.') || namespace.is_empty() {
        true => name.to_string(),
        false => format!("{namespace}.{name}"),
    }
}

/// What a logical type makes of a type. One that does not fit, or that nobody knows, is none, as the specification wants it.
fn logical(of: Type, object: &Map<String, Value>) -> Result<Type, String> {
    let Some(logical) = object.get("logicalType").and_then(Value::as_str) else {
        return Ok(of);
    };
    Ok(match (logical, &of) {
        ("date", Type::Int) => Type::Date,
        ("time-millis", Type::Int) => Type::Time(Unit::Millis),
        ("time-micros", Type::Long) => Type::Time(Unit::Micros),
        ("timestamp-millis" | "local-timestamp-millis", Type::Long) => Type::Timestamp(Unit::Millis),
        ("timestamp-micros" | "local-timestamp-micros", Type::Long) => Type::Timestamp(Unit::Micros),
        ("timestamp-nanos" | "local-timestamp-nanos", Type::Long) => Type::Timestamp(Unit::Nanos),
        ("duration", Type::Fixed(12)) => Type::Duration,
        ("decimal", Type::Bytes | Type::Fixed(_)) => {
            let number = |key: &str| object.get(key).map_or(Some(0), Value::as_u64);
            let precision = number("precision").and_then(|precision| u8::try_from(precision).ok());
            let scale = number("scale").and_then(|scale| i8::try_from(scale).ok());
            match (precision, scale) {
                (Some(precision @ 1..=38), Some(scale)) if scale.unsigned_abs() <= precision => Type::Decimal {
                    precision,
                    scale,
                    fixed: match of {
                        Type::Fixed(size) => Some(size),
                        _ => None,
                    },
                },
                _ => return Err("a decimal has a 'precision' from 1 to 38 and a 'scale' up to it".to_string()),
            }
        }
        _ => of,
    })
}
