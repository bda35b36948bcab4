//! Templates as trees.

use std::ops::Range;

use serde_json::Value;

/// A text with placeholders.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) parts: Vec<Part>,
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    Placeholder(Placeholder),
    /// `${if condition}…${else}…${endif}`.
    Conditional {
        condition: Expression,
        then: Vec<Part>,
        otherwise: Vec<Part>,
    },
}

#[derive(Debug)]
pub(super) struct Placeholder {
    pub(super) expression: Expression,
    /// Where the `?` stands that lets it come to nothing: `${…}?`.
    pub(super) question_mark: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Expression {
    pub(super) kind: Kind,
    /// Bytes within the text of the outermost template.
    pub(super) span: Range<usize>,
}

#[derive(Debug)]
pub(super) enum Kind {
    Literal(Value),
    /// A text in quotes that holds placeholders itself.
    Template(Template),
    List(Vec<Expression>),
    Reference(Vec<Key>),
    Call {
        function: String,
        arguments: Vec<Expression>,
    },
    Not(Box<Expression>),
    TypeOf(Box<Expression>),
    /// Operators that bind equally strong, from left to right. They are kept in a row because there
    /// can be any number of them, and a tree would be as deep.
    Chain(Box<Expression>, Vec<(Operator, Expression)>),
    /// `condition ? then : otherwise`.
    Choice {
        condition: Box<Expression>,
        then: Box<Expression>,
        otherwise: Box<Expression>,
    },
}

#[derive(Debug)]
pub(super) enum Key {
    /// `.name`.
    Name(String),
    /// `[…]`.
    Computed(Expression),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    DividedBy,
    Modulo,
    Contains,
}

impl Operator {
    /// All operators as they are written, from those that bind weakest to those that bind strongest.
    pub(super) const BY_STRENGTH: [&[(&str, Self)]; 7] = [
        &[("||", Self::Or)],
        &[("&&", Self::And)],
        &[("==", Self::Equal), ("!=", Self::NotEqual)],
        &[("<", Self::Less), ("<=", Self::LessOrEqual), (">", Self::Greater), (">=", Self::GreaterOrEqual)],
        &[("+", Self::Plus), ("-", Self::Minus)],
        &[("*", Self::Times), ("/", Self::DividedBy), ("%", Self::Modulo)],
        &[("contains", Self::Contains)],
    ];

    /// How the operator is written.
    pub(super) fn sign(self) -> &'static str {
        let mut all = Self::BY_STRENGTH.into_iter().flatten();
        all.find(|(_, operator)| *operator == self).map_or("", |(sign, _)| *sign)
    }
}

impl Template {
    /// Where the `?` of an optional placeholder stands that text follows.
    pub(super) fn swallowed_question_mark(&self) -> Option<usize> {
        swallowed_question_mark(&self.parts)
    }
}

/// Goes into blocks, which are nested to a bounded depth.
fn swallowed_question_mark(parts: &[Part]) -> Option<usize> {
    let within = parts.iter().find_map(|part| match part {
        Part::Conditional { then, otherwise, .. } => {
            swallowed_question_mark(then).or_else(|| swallowed_question_mark(otherwise))
        }
        _ => None,
    });
    let here = parts.windows(2).find_map(|pair| match pair {
        [Part::Placeholder(Placeholder { question_mark, .. }), Part::Text(_)] => *question_mark,
        _ => None,
    });
    within.or(here)
}

impl Expression {
    pub(super) fn chain(first: Self, rest: Vec<(Operator, Self)>) -> Self {
        let Some((_, last)) = rest.last() else { return first };
        let span = first.span.start..last.span.end;
        Self { kind: Kind::Chain(Box::new(first), rest), span }
    }
}
