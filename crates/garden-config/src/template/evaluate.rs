//! From expressions to values.

use std::ops::Range;

use serde_json::Value;

use super::expression::{Expression, Key, Kind, Operator, Part, Placeholder, Template};
use super::functions::{self, Argument};
use super::limits::{self, Text};
use super::value::{equal, is_truthy, kind, number, text, type_of};
use super::{Fault, LookedUp, Scope, TemplateProblem};

type Evaluated<T> = Result<T, TemplateProblem>;

/// Computes what a template comes to; `None` if it is `${…}?` and there is nothing.
pub(super) fn template(template: &Template, scope: &dyn Scope) -> Evaluated<Option<Value>> {
    Evaluator { scope }.template(template)
}

/// What an expression comes to.
enum Outcome {
    Value(Value),
    /// Nothing, because a key is missing. This is the problem if nothing makes up for it.
    Missing(TemplateProblem),
}

impl Outcome {
    fn required(self) -> Evaluated<Value> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Missing(problem) => Err(problem),
        }
    }

    /// What `&&` makes of an operand that decides it.
    fn or_false(self) -> Self {
        match self {
            Self::Missing(_) => false.into(),
            value @ Self::Value(_) => value,
        }
    }

    fn is_truthy(&self) -> bool {
        matches!(self, Self::Value(value) if is_truthy(value))
    }
}

impl From<bool> for Outcome {
    fn from(value: bool) -> Self {
        Self::Value(value.into())
    }
}

struct Evaluator<'s> {
    scope: &'s dyn Scope,
}

impl Evaluator<'_> {
    fn template(&self, template: &Template) -> Evaluated<Option<Value>> {
        if let [Part::Placeholder(placeholder)] = template.parts.as_slice() {
            return self.placeholder(placeholder);
        }
        let mut printed = Text::default();
        self.print(&template.parts, &template.span, &mut printed)?;
        Ok(Some(printed.finish()))
    }

    fn placeholder(&self, placeholder: &Placeholder) -> Evaluated<Option<Value>> {
        match self.expression(&placeholder.expression)? {
            Outcome::Value(value) => Ok(Some(value)),
            Outcome::Missing(_) if placeholder.optional => Ok(None),
            Outcome::Missing(problem) => Err(problem),
        }
    }

    fn print(&self, parts: &[Part], whole: &Range<usize>, printed: &mut Text) -> Evaluated<()> {
        for part in parts {
            match part {
                Part::Text(text) => printed.push(text).map_err(|fault| fault.at(whole))?,
                Part::Placeholder(placeholder) => {
                    let span = &placeholder.expression.span;
                    let Some(value) = self.placeholder(placeholder)? else { continue };
                    let text = text(&value).ok_or_else(|| not_printable(&value).at(span))?;
                    printed.push(&text).map_err(|fault| fault.at(span))?;
                }
                Part::Conditional { condition, then, otherwise } => {
                    let holds = is_truthy(&self.value(condition)?);
                    self.print(if holds { then } else { otherwise }, whole, printed)?;
                }
            }
        }
        Ok(())
    }

    /// The expression's value, where there must be one.
    fn value(&self, expression: &Expression) -> Evaluated<Value> {
        self.expression(expression)?.required()
    }

    /// Kept small, and so is what it calls: this is what takes the stack when expressions are nested.
    fn expression(&self, expression: &Expression) -> Evaluated<Outcome> {
        let span = &expression.span;
        match &expression.kind {
            Kind::Literal(value) => Ok(Outcome::Value(value.clone())),
            Kind::Template(template) => self.nested(template),
            Kind::List(items) => self.list(items, span),
            Kind::Reference(keys) => self.reference(keys, span),
            Kind::Call { function, arguments } => self.call(function, arguments, span),
            Kind::Not(operand) => self.not(operand),
            Kind::TypeOf(operand) => self.type_of(operand),
            Kind::Chain(first, rest) => self.chain(first, rest, span),
            Kind::Choice { condition, then, otherwise } => self.choice(condition, then, otherwise),
        }
    }

    fn nested(&self, template: &Template) -> Evaluated<Outcome> {
        let nothing = || Outcome::Missing(Fault::new("this text comes to nothing").at(&template.span));
        Ok(self.template(template)?.map_or_else(nothing, Outcome::Value))
    }

    fn list(&self, items: &[Expression], span: &Range<usize>) -> Evaluated<Outcome> {
        let values = items.iter().map(|item| self.value(item)).collect::<Evaluated<_>>()?;
        self.built(Ok(Value::Array(values)), span)
    }

    fn not(&self, operand: &Expression) -> Evaluated<Outcome> {
        Ok((!self.expression(operand)?.is_truthy()).into())
    }

    fn type_of(&self, operand: &Expression) -> Evaluated<Outcome> {
        Ok(Outcome::Value(match self.expression(operand)? {
            Outcome::Value(value) => type_of(&value).into(),
            Outcome::Missing(_) => "undefined".into(),
        }))
    }

    fn choice(
        &self,
        condition: &Expression,
        then: &Expression,
        otherwise: &Expression,
    ) -> Evaluated<Outcome> {
        self.expression(if self.expression(condition)?.is_truthy() { then } else { otherwise })
    }

    fn reference(&self, keys: &[Key], span: &Range<usize>) -> Evaluated<Outcome> {
        let mut path = Vec::with_capacity(keys.len());
        for key in keys {
            match key {
                Key::Name(name) => path.push(name.clone()),
                Key::Computed(expression) => match self.expression(expression)? {
                    Outcome::Value(key @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                        path.extend(text(&key));
                    }
                    Outcome::Value(other) => {
                        let message = format!("a key must be text or a number, not {}", kind(&other));
                        return Err(Fault::new(message).at(&expression.span));
                    }
                    // Then what it is the key of is missing, too.
                    missing @ Outcome::Missing(_) => return Ok(missing),
                },
            }
        }
        match self.scope.look_up(&path) {
            Ok(LookedUp::Found(value)) => self.handled(Ok(value), span),
            Ok(LookedUp::Missing(fault)) => Ok(Outcome::Missing(fault.at(span))),
            Err(fault) => Err(fault.at(span)),
        }
    }

    fn chain(
        &self,
        first: &Expression,
        rest: &[(Operator, Expression)],
        span: &Range<usize>,
    ) -> Evaluated<Outcome> {
        let mut left = self.expression(first)?;
        for (operator, operand) in rest {
            let decided = match operator {
                Operator::Or => left.is_truthy(),
                Operator::And => !left.is_truthy(),
                _ => false,
            };
            left = if decided {
                left.or_false()
            } else {
                let right = self.expression(operand)?;
                self.combine(*operator, left, right, span)?
            };
        }
        Ok(left)
    }

    fn call(&self, function: &str, arguments: &[Expression], span: &Range<usize>) -> Evaluated<Outcome> {
        let function = functions::find(function).map_err(|fault| fault.at(span))?;
        let arguments = arguments.iter().map(|argument| {
            let value = match self.expression(argument)? {
                Outcome::Missing(_) if function.takes_missing => Value::Null,
                outcome => outcome.required()?,
            };
            Ok(Argument { value, span: argument.span.clone() })
        });
        let arguments: Vec<Argument> = arguments.collect::<Evaluated<_>>()?;
        self.built(Ok(functions::call(function, &arguments, span)?), span)
    }

    /// Passes on a value that was built, if there is one and it is not too large.
    fn built(&self, value: Result<Value, Fault>, span: &Range<usize>) -> Evaluated<Outcome> {
        self.handled(value.and_then(limits::check), span)
    }

    /// Passes on a value, if the scope lets it.
    fn handled(&self, value: Result<Value, Fault>, span: &Range<usize>) -> Evaluated<Outcome> {
        let handled = value.and_then(|value| self.scope.handle(&value).map(|()| value));
        handled.map(Outcome::Value).map_err(|fault| fault.at(span))
    }

    /// Applies an operator to both of its operands.
    fn combine(
        &self,
        operator: Operator,
        left: Outcome,
        right: Outcome,
        span: &Range<usize>,
    ) -> Evaluated<Outcome> {
        match operator {
            Operator::Or => Ok(right),
            Operator::And => Ok(right.or_false()),
            _ => self.built(operate(operator, left.required()?, right.required()?), span),
        }
    }
}

fn not_printable(value: &Value) -> Fault {
    let fault = Fault::new(format!("{} cannot be part of a text", kind(value)));
    fault.hint(if value.is_array() { "use `join` or `jsonEncode`" } else { "use `jsonEncode`" })
}

/// Applies an operator whose two operands are always needed.
fn operate(operator: Operator, left: Value, right: Value) -> Result<Value, Fault> {
    match (operator, left, right) {
        (Operator::Equal, left, right) => Ok(compare(operator, &left, &right)?.into()),
        (Operator::NotEqual, left, right) => Ok((!compare(operator, &left, &right)?).into()),
        (Operator::Contains, left, right) => contains(&left, &right).map(Value::from),
        (Operator::Plus, Value::String(left), Value::String(right)) => Ok((left + &right).into()),
        (Operator::Plus, Value::Array(left), Value::Array(right)) => Ok([left, right].concat().into()),
        (_, Value::Number(left), Value::Number(right)) => {
            let operands = left.as_f64().zip(right.as_f64());
            let (left, right) = operands.ok_or_else(|| Fault::new("the number is too large"))?;
            calculate(operator, left, right)
        }
        (_, left, right) => {
            let needs = match operator {
                Operator::Plus => "two numbers, two texts or two lists",
                _ => "two numbers",
            };
            let (sign, left_kind, right_kind) = (operator.sign(), kind(&left), kind(&right));
            let fault = Fault::new(format!("`{sign}` takes {needs}, not {left_kind} and {right_kind}"));
            let makes_text = operator == Operator::Plus && (left.is_string() || right.is_string());
            Err(if makes_text { fault.hint("`string(…)` makes a text of a number") } else { fault })
        }
    }
}

fn compare(operator: Operator, left: &Value, right: &Value) -> Result<bool, Fault> {
    equal(left, right).ok_or_else(|| {
        let message = format!("lists and mappings cannot be compared with `{}`", operator.sign());
        Fault::new(message).hint("compare what `jsonEncode` makes of them")
    })
}

fn calculate(operator: Operator, left: f64, right: f64) -> Result<Value, Fault> {
    if matches!(operator, Operator::DividedBy | Operator::Modulo) && right == 0.0 {
        return Err(Fault::new(format!("`{}` cannot take 0 on its right", operator.sign())));
    }
    let result = match operator {
        Operator::Less => return Ok((left < right).into()),
        Operator::LessOrEqual => return Ok((left <= right).into()),
        Operator::Greater => return Ok((left > right).into()),
        Operator::GreaterOrEqual => return Ok((left >= right).into()),
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::DividedBy => left / right,
        Operator::Modulo => left % right,
        _ => left + right,
    };
    number(result).ok_or_else(|| Fault::new("the result is too large a number"))
}

fn contains(whole: &Value, part: &Value) -> Result<bool, Fault> {
    let Some(part_text) = text(part) else {
        let message = format!("`contains` cannot take {} on its right", kind(part));
        return Err(Fault::new(message).hint("only text, numbers, booleans and `null` can be contained"));
    };
    match whole {
        Value::String(whole) => Ok(whole.contains(&part_text)),
        Value::Array(items) => Ok(items.iter().any(|item| equal(item, part) == Some(true))),
        Value::Object(entries) => Ok(entries.contains_key(&part_text)),
        other => {
            let message =
                format!("`contains` takes text, a list or a mapping on its left, not {}", kind(other));
            Err(Fault::new(message))
        }
    }
}
