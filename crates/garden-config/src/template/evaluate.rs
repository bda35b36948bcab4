//! From expressions to values.

use std::ops::Range;

use serde_json::Value;

use super::expression::{Expression, Key, Kind, Operator, Part, Placeholder, Template};
use super::functions::{self, Argument};
use super::limits::{self, Text};
use super::{Fault, LookedUp, Scope, TemplateProblem};
use crate::javascript::{equal, is_collection, is_truthy, kind, number, text, type_of};
use crate::project::Generation;

type Evaluated<T> = Result<T, Stop>;

/// Why an expression comes to nothing.
enum Stop {
    /// A key is missing. This is the problem if nothing makes up for it.
    Missing(TemplateProblem),
    Problem(TemplateProblem),
}

impl From<TemplateProblem> for Stop {
    fn from(problem: TemplateProblem) -> Self {
        Self::Problem(problem)
    }
}

/// Computes what a template comes to; `None` if it is `${…}?` and there is nothing.
pub(super) fn template(
    template: &Template,
    generation: Generation,
    scope: &dyn Scope,
) -> Result<Option<Value>, TemplateProblem> {
    let evaluator = Evaluator { scope, generation };
    evaluator.template(template).map_err(|(Stop::Missing(problem) | Stop::Problem(problem))| problem)
}

/// `None` if a key is missing.
fn if_present(value: Evaluated<Value>) -> Result<Option<Value>, Stop> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Missing(_)) => Ok(None),
        Err(problem @ Stop::Problem(_)) => Err(problem),
    }
}

struct Evaluator<'s> {
    scope: &'s dyn Scope,
    generation: Generation,
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
        match self.expression(&placeholder.expression) {
            Ok(value) => Ok(Some(value)),
            Err(Stop::Missing(_)) if placeholder.question_mark.is_some() => Ok(None),
            Err(stop) => Err(stop),
        }
    }

    fn print(&self, parts: &[Part], whole: &Range<usize>, printed: &mut Text) -> Evaluated<()> {
        for (index, part) in parts.iter().enumerate() {
            match part {
                Part::Text(text) => printed.push(text).map_err(|fault| fault.at(whole))?,
                Part::Placeholder(placeholder) => {
                    let span = &placeholder.expression.span;
                    let value = self.placeholder(placeholder);
                    let value = value.map_err(|stop| explained(stop, parts.get(index + 1)))?;
                    let Some(value) = value else { continue };
                    let text = text(&value).ok_or_else(|| not_printable(&value).at(span))?;
                    printed.push(&text).map_err(|fault| fault.at(span))?;
                }
                Part::Conditional { condition, then, otherwise } => {
                    let holds = is_truthy(&self.needed(condition)?);
                    self.print(if holds { then } else { otherwise }, whole, printed)?;
                }
            }
        }
        Ok(())
    }

    /// The value of an expression that a text, an operator or a function needs. With Garden 0.14, something around them
    /// may make up for a key that is missing; before, nothing could.
    fn needed(&self, expression: &Expression) -> Evaluated<Value> {
        self.expression(expression).map_err(|stop| self.passed_on(stop))
    }

    fn passed_on(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Missing(problem) if self.generation < Generation::V2 => Stop::Problem(problem),
            stop => stop,
        }
    }

    /// Kept small, and so is what it calls: this is what takes the stack when expressions are nested.
    fn expression(&self, expression: &Expression) -> Evaluated<Value> {
        let span = &expression.span;
        match &expression.kind {
            Kind::Literal(value) => Ok(value.clone()),
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

    fn nested(&self, template: &Template) -> Evaluated<Value> {
        let value = self.template(template).map_err(|stop| self.passed_on(stop))?;
        value.ok_or_else(|| Stop::Missing(Fault::new("this text comes to nothing").at(&template.span)))
    }

    fn list(&self, items: &[Expression], span: &Range<usize>) -> Evaluated<Value> {
        let values = items.iter().map(|item| self.needed(item)).collect::<Evaluated<_>>()?;
        self.built(Ok(Value::Array(values)), span)
    }

    fn not(&self, operand: &Expression) -> Evaluated<Value> {
        let value = if_present(self.expression(operand))?;
        Ok((!value.is_some_and(|value| is_truthy(&value))).into())
    }

    fn type_of(&self, operand: &Expression) -> Evaluated<Value> {
        let value = if_present(self.expression(operand))?;
        Ok(value.map_or("undefined", |value| type_of(&value)).into())
    }

    fn choice(&self, condition: &Expression, then: &Expression, otherwise: &Expression) -> Evaluated<Value> {
        let condition = if_present(self.expression(condition))?;
        let holds = condition.is_some_and(|value| is_truthy(&value));
        self.expression(if holds { then } else { otherwise })
    }

    fn reference(&self, keys: &[Key], span: &Range<usize>) -> Evaluated<Value> {
        let mut path = Vec::with_capacity(keys.len());
        for key in keys {
            match key {
                Key::Name(name) => path.push(name.clone()),
                // If a key is missing, so is what it is the key of.
                Key::Computed(expression) => match self.expression(expression)? {
                    key @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => path.extend(text(&key)),
                    other => {
                        let message = format!("a key must be text or a number, not {}", kind(&other));
                        return Err(Fault::new(message).at(&expression.span).into());
                    }
                },
            }
        }
        match self.scope.look_up(&path) {
            Ok(LookedUp::Found(value)) => self.handled(Ok(value), span),
            Ok(LookedUp::Missing(fault)) => Err(Stop::Missing(fault.at(span))),
            Err(fault) => Err(fault.at(span).into()),
        }
    }

    fn chain(
        &self,
        first: &Expression,
        rest: &[(Operator, Expression)],
        span: &Range<usize>,
    ) -> Evaluated<Value> {
        let mut left = self.expression(first);
        for (operator, operand) in rest {
            if !decides(*operator, &left) {
                let right = self.expression(operand);
                left = self.combine(*operator, left, right, span);
            } else if *operator == Operator::And {
                left = left.or_else(or_false);
            }
        }
        left
    }

    fn call(&self, function: &str, arguments: &[Expression], span: &Range<usize>) -> Evaluated<Value> {
        let function = functions::find(function).map_err(|fault| fault.at(span))?;
        let takes_missing = function.takes_missing && self.generation < Generation::V2;
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let value = match self.expression(argument) {
                Err(Stop::Missing(_)) if takes_missing => Value::Null,
                value => value.map_err(|stop| self.passed_on(stop))?,
            };
            values.push(Argument { value, span: argument.span.clone() });
        }
        self.built(Ok(functions::call(function, &values, span)?), span)
    }

    /// Passes on a value that was built, if there is one and it is not too large.
    fn built(&self, value: Result<Value, Fault>, span: &Range<usize>) -> Evaluated<Value> {
        self.handled(value.and_then(limits::check), span)
    }

    /// Passes on a value, if the scope lets it.
    fn handled(&self, value: Result<Value, Fault>, span: &Range<usize>) -> Evaluated<Value> {
        let handled = value.and_then(|value| self.scope.handle(&value).map(|()| value));
        handled.map_err(|fault| fault.at(span).into())
    }

    /// Applies an operator to both of its operands.
    fn combine(
        &self,
        operator: Operator,
        left: Evaluated<Value>,
        right: Evaluated<Value>,
        span: &Range<usize>,
    ) -> Evaluated<Value> {
        match operator {
            Operator::Or => right,
            Operator::And => right.or_else(or_false),
            _ => {
                let left = left.map_err(|stop| self.passed_on(stop))?;
                let right = right.map_err(|stop| self.passed_on(stop))?;
                self.built(operate(operator, left, right, self.generation), span)
            }
        }
    }
}

/// Whether the operator does not need its right operand.
fn decides(operator: Operator, left: &Evaluated<Value>) -> bool {
    match (operator, left) {
        (_, Err(Stop::Problem(_))) | (Operator::And, Err(Stop::Missing(_))) => true,
        (Operator::Or, Ok(value)) => is_truthy(value),
        (Operator::And, Ok(value)) => !is_truthy(value),
        _ => false,
    }
}

/// What `&&` makes of a key that is missing.
fn or_false(stop: Stop) -> Evaluated<Value> {
    match stop {
        Stop::Missing(_) => Ok(Value::Bool(false)),
        problem @ Stop::Problem(_) => Err(problem),
    }
}

/// With Garden 0.14, which leaves the character in the text; before, nothing is missing there.
const NO_SUFFIX: &str = "since Garden 0.14 (`apiVersion: garden.io/v2`) a `?` makes no placeholder optional: write `${… || null}`";

/// Adds a hint where a missing key is followed by `?`: that does not make it optional.
fn explained(stop: Stop, next: Option<&Part>) -> Stop {
    match (stop, next) {
        (Stop::Missing(problem), Some(Part::Text(text))) if text.starts_with('?') => {
            Stop::Missing(TemplateProblem { hint: Some(NO_SUFFIX.to_owned()), ..problem })
        }
        (stop, _) => stop,
    }
}

fn not_printable(value: &Value) -> Fault {
    let fault = Fault::new(format!("{} cannot be part of a text", kind(value)));
    fault.hint(if value.is_array() { "use `join` or `jsonEncode`" } else { "use `jsonEncode`" })
}

/// Applies an operator whose two operands are always needed.
fn operate(operator: Operator, left: Value, right: Value, generation: Generation) -> Result<Value, Fault> {
    match (operator, left, right) {
        (Operator::Equal, left, right) => Ok(compare(operator, &left, &right)?.into()),
        (Operator::NotEqual, left, right) => Ok((!compare(operator, &left, &right)?).into()),
        (Operator::Contains, left, right) => contains(&left, &right).map(Value::from),
        (Operator::Plus, Value::String(left), Value::String(right)) => Ok((left + &right).into()),
        (Operator::Plus, Value::String(left), right)
            if generation >= Generation::V2 && !is_collection(&right) =>
        {
            Ok((left + &text(&right).unwrap_or_default()).into())
        }
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
