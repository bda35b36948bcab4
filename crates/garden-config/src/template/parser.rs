//! From the words of a placeholder to an expression.

use std::ops::Range;

use serde_json::Value;

use super::expression::{Expression, Key, Kind, Operator};
use super::syntax::{self, Place, Rule, Word};
use super::{Fault, TemplateProblem, limits, literal};
use crate::document::placeholder::is_template;
use crate::project::Generation;

type Parsed<T> = Result<T, TemplateProblem>;

/// Parses the `words` that follow `opening`, `depth` levels within others.
pub(super) fn expression(
    words: &[Word<'_>],
    opening: &Word<'_>,
    place: &Place,
    depth: usize,
    generation: Generation,
) -> Parsed<Expression> {
    let mut parser = Parser { words, place, depth, generation, previous: opening };
    let expression = parser.expression()?;
    match parser.words.first() {
        None => Ok(expression),
        Some(word) => Err(parser.misplaced(word).at(&word.span)),
    }
}

struct Parser<'p, 't> {
    /// The words that are left.
    words: &'p [Word<'t>],
    /// The word before these.
    previous: &'p Word<'t>,
    place: &'p Place,
    depth: usize,
    generation: Generation,
}

impl<'p, 't> Parser<'p, 't> {
    /// `operation`, `operation ? expression : expression`.
    fn expression(&mut self) -> Parsed<Expression> {
        let condition = self.operation()?;
        let Some(question) = self.take("?") else { return Ok(condition) };
        self.deeper(&question.span, |parser| {
            let then = Box::new(parser.expression()?);
            parser.expect(":", question)?;
            let otherwise = Box::new(parser.expression()?);
            let span = condition.span.start..otherwise.span.end;
            Ok(Expression { kind: Kind::Choice { condition: Box::new(condition), then, otherwise }, span })
        })
    }

    /// Operands with operators between them.
    fn operation(&mut self) -> Parsed<Expression> {
        let mut first = self.operand()?;
        let mut rest = Vec::new();
        while let Some((word, operator)) = self.operator() {
            if matches!(operator, Operator::Plus | Operator::Minus) && !word.spaced {
                let fault = Fault::new(format!("`{}` needs white space on both sides", word.text));
                return Err(fault.hint("without it, `a-b` is one name").at(&word.span));
            }
            rest.push((operator, self.operand()?));
        }
        for operators in Operator::BY_STRENGTH.iter().rev() {
            (first, rest) = bind(first, rest, operators);
        }
        Ok(first)
    }

    fn operator(&mut self) -> Option<(&'p Word<'t>, Operator)> {
        let word = self.words.first()?;
        let mut all = Operator::BY_STRENGTH.into_iter().flatten();
        let (_, operator) = all.find(|(sign, _)| *sign == word.text)?;
        self.next();
        Some((word, *operator))
    }

    fn operand(&mut self) -> Parsed<Expression> {
        let previous = self.previous;
        let Some(word) = self.next() else {
            let fault = Fault::new(format!("expected a value after `{}`", shown(previous)));
            return Err(fault.at(&previous.span));
        };
        let literal = |value| Ok(Expression { kind: Kind::Literal(value), span: word.span.clone() });
        match word.text {
            "!" => self.prefix(word, Kind::Not),
            "typeof" => self.prefix(word, Kind::TypeOf),
            "(" => self.deeper(&word.span, |parser| {
                let inner = parser.expression()?;
                let close = parser.expect(")", word)?;
                Ok(Expression { span: word.span.start..close.span.end, ..inner })
            }),
            "[" => self.list(word),
            "null" => literal(Value::Null),
            "true" => literal(Value::Bool(true)),
            "false" => literal(Value::Bool(false)),
            written => match word.rule {
                Rule::string => self.quoted(word),
                Rule::number => {
                    literal::number(written).map_err(|fault| fault.at(&word.span)).and_then(literal)
                }
                Rule::path => self.path(word),
                _ => Err(no_value(word, previous).at(&word.span)),
            },
        }
    }

    fn prefix(&mut self, word: &Word<'_>, kind: fn(Box<Expression>) -> Kind) -> Parsed<Expression> {
        self.deeper(&word.span, |parser| {
            let operand = Box::new(parser.operand()?);
            let span = word.span.start..operand.span.end;
            Ok(Expression { kind: kind(operand), span })
        })
    }

    fn list(&mut self, open: &Word<'_>) -> Parsed<Expression> {
        let (items, close) = self.items(open, "]")?;
        if let Some(keys) = close.text.strip_prefix("].") {
            let fault = Fault::new(format!("`.{keys}` cannot follow a list"));
            return Err(fault.hint("give the list a name in the variables").at(&close.span));
        }
        Ok(Expression { kind: Kind::List(items), span: open.span.start..close.span.end })
    }

    /// A text in quotes; the templates within it are resolved too.
    fn quoted(&mut self, word: &Word<'_>) -> Parsed<Expression> {
        let span = word.span.clone();
        let written = &word.text[1..word.text.len() - 1];
        let text = literal::unescape(written).map_err(|fault| fault.at(&span))?;
        if !is_template(&text) {
            return Ok(Expression { kind: Kind::Literal(Value::String(text)), span });
        }
        let place = match self.place {
            Place::From(_) if text == written => Place::From(span.start + 1),
            _ => Place::Within(span.clone()),
        };
        self.deeper(&span.clone(), |parser| {
            let template = syntax::parse_nested(&text, &place, parser.depth, parser.generation)?;
            Ok(Expression { kind: Kind::Template(template), span })
        })
    }

    /// `function(…)` or `keys.of[a].reference`.
    fn path(&mut self, word: &Word<'_>) -> Parsed<Expression> {
        let start = word.span.start;
        if !word.text.contains('.')
            && let Some(open) = self.take("(")
        {
            let function = word.text.to_owned();
            let (arguments, close) = self.items(open, ")")?;
            return Ok(Expression { kind: Kind::Call { function, arguments }, span: start..close.span.end });
        }
        let mut keys: Vec<Key> = word.text.split('.').map(|key| Key::Name(key.to_owned())).collect();
        let mut end = word.span.end;
        while let Some(open) = self.take("[") {
            let (key, close) =
                self.deeper(&open.span, |parser| Ok((parser.expression()?, parser.expect("]", open)?)))?;
            keys.push(Key::Computed(key));
            keys.extend(close.text.split('.').skip(1).map(|key| Key::Name(key.to_owned())));
            end = close.span.end;
        }
        Ok(Expression { kind: Kind::Reference(keys), span: start..end })
    }

    /// Expressions with commas between them, and the word that closes them. One comma more may follow.
    fn items(&mut self, open: &Word<'_>, close: &str) -> Parsed<(Vec<Expression>, &'p Word<'t>)> {
        self.deeper(&open.span, |parser| {
            let mut items = Vec::new();
            loop {
                if let Some(end) = parser.take(close) {
                    return Ok((items, end));
                }
                if parser.words.is_empty() {
                    return Err(never_closed(open));
                }
                items.push(parser.expression()?);
                if parser.take(",").is_none() {
                    return Ok((items, parser.expect(close, open)?));
                }
            }
        })
    }

    /// Reads something that is nested within the word at `span`.
    fn deeper<T>(&mut self, span: &Range<usize>, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth == limits::DEEPEST_NESTING {
            return Err(limits::nested_too_deep().at(span));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn next(&mut self) -> Option<&'p Word<'t>> {
        let (word, rest) = self.words.split_first()?;
        self.words = rest;
        self.previous = word;
        Some(word)
    }

    fn take(&mut self, sign: &str) -> Option<&'p Word<'t>> {
        let word = self.words.first()?;
        // Keys may follow a bracket in the same word.
        let matches = word.text == sign || sign == "]" && word.rule == Rule::close_bracket;
        if matches { self.next() } else { None }
    }

    /// Takes the `sign` that must follow somewhere behind the word `open`.
    fn expect(&mut self, sign: &str, open: &Word<'_>) -> Parsed<&'p Word<'t>> {
        match (self.take(sign), self.words.first()) {
            (Some(word), _) => Ok(word),
            (None, Some(word)) => Err(self.misplaced(word).at(&word.span)),
            (None, None) => Err(never_closed(open)),
        }
    }

    /// `word` follows a whole value, and cannot.
    fn misplaced(&self, word: &Word<'_>) -> Fault {
        let fault = Fault::new(format!("`{}` cannot follow `{}`", shown(word), shown(self.previous)));
        match (word.rule, word.text) {
            (_, "=") => fault.hint("values are compared with `==`"),
            (_, "&") => fault.hint("did you mean `&&`?"),
            (_, "|") => fault.hint("did you mean `||`?"),
            (_, "if") if self.previous.text == "else" => {
                fault.hint("put another `${if …}…${endif}` between `${else}` and `${endif}`")
            }
            (_, "${" | "{") => fault.hint(NESTED),
            (Rule::path | Rule::string | Rule::number, _) => fault.hint("put an operator between the two"),
            _ => fault,
        }
    }
}

/// Joins what the `operators` stand between; what is left has other operators between it.
///
/// The operators are bound strength by strength when all operands were read, rather than in a function
/// for each strength that calls the next, as that would take a multiple of the stack.
fn bind(
    first: Expression,
    rest: Vec<(Operator, Expression)>,
    operators: &[(&str, Operator)],
) -> (Expression, Vec<(Operator, Expression)>) {
    let mut head = (first, Vec::new());
    let mut others: Vec<(Operator, (Expression, Vec<_>))> = Vec::new();
    for (operator, operand) in rest {
        if operators.iter().any(|(_, bound)| *bound == operator) {
            let (_, chain) = others.last_mut().map_or(&mut head, |(_, link)| link);
            chain.push((operator, operand));
        } else {
            others.push((operator, (operand, Vec::new())));
        }
    }
    let others =
        others.into_iter().map(|(operator, (first, rest))| (operator, Expression::chain(first, rest)));
    (Expression::chain(head.0, head.1), others.collect())
}

const NESTED: &str = "keys within a placeholder stand alone: `${a[b]}`, not `${a[${b}]}`";

/// `word` stands where a value must.
fn no_value(word: &Word<'_>, previous: &Word<'_>) -> Fault {
    if word.rule == Rule::bad_number {
        return Fault::new(format!("`{}` is neither a number nor a name", shown(word)));
    }
    let fault = Fault::new(format!("expected a value after `{}`, not `{}`", shown(previous), shown(word)));
    match word.text {
        "${" => fault.hint(NESTED),
        "-" => fault.hint("there are no negative numbers: write `(0 - 1)`"),
        _ => fault,
    }
}

fn never_closed(open: &Word<'_>) -> TemplateProblem {
    let fault = match open.text {
        "?" => Fault::new("`?` has no `:`").hint("write `condition ? value : other value`"),
        bracket => Fault::new(format!("`{bracket}` is never closed")),
    };
    fault.at(&open.span)
}

/// The word, if it is not too long to be read within a message.
fn shown(word: &Word<'_>) -> String {
    const READABLE: usize = 30;
    match word.text.char_indices().nth(READABLE) {
        None => word.text.to_owned(),
        Some((end, _)) => format!("{}…", &word.text[..end]),
    }
}
