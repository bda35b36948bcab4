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
    /// Whether it may come to nothing: `${…}?`.
    pub(super) optional: bool,
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
    /// The paths that the template mentions, as far as they are written out.
    pub(super) fn references(&self) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.parts.iter().for_each(|part| part.collect(&mut found));
        found
    }
}

impl Part {
    fn collect(&self, found: &mut Vec<Vec<String>>) {
        match self {
            Self::Text(_) => {}
            Self::Placeholder(placeholder) => placeholder.expression.collect(found),
            Self::Conditional { condition, then, otherwise } => {
                condition.collect(found);
                then.iter().chain(otherwise).for_each(|part| part.collect(found));
            }
        }
    }
}

impl Expression {
    pub(super) fn chain(first: Self, rest: Vec<(Operator, Self)>) -> Self {
        let Some((_, last)) = rest.last() else { return first };
        let span = first.span.start..last.span.end;
        Self { kind: Kind::Chain(Box::new(first), rest), span }
    }

    fn collect(&self, found: &mut Vec<Vec<String>>) {
        match &self.kind {
            Kind::Literal(_) => {}
            Kind::Template(template) => template.parts.iter().for_each(|part| part.collect(found)),
            Kind::List(items) | Kind::Call { arguments: items, .. } => {
                for item in items {
                    item.collect(found);
                }
            }
            Kind::Reference(keys) => {
                found.push(keys.iter().map_while(Key::written).collect());
                for key in keys {
                    if let Key::Computed(expression) = key {
                        expression.collect(found);
                    }
                }
            }
            Kind::Not(operand) | Kind::TypeOf(operand) => operand.collect(found),
            Kind::Chain(first, rest) => {
                first.collect(found);
                for (_, operand) in rest {
                    operand.collect(found);
                }
            }
            Kind::Choice { condition, then, otherwise } => {
                for branch in [condition, then, otherwise] {
                    branch.collect(found);
                }
            }
        }
    }
}

impl Key {
    /// The key, if it is known without computing anything.
    fn written(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Computed(Expression { kind: Kind::Literal(value), .. }) => super::value::text(value),
            Self::Computed(_) => None,
        }
    }
}
