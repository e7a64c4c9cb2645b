//! Walks over syntax trees that are compiled once.
//!
//! sqlparser's own `visit` is compiled anew for every visitor: several hundred functions each time. Here it is compiled for one
//! visitor, which asks any other through a table of functions. Tens of visitors so cost what one costs, in time to build and in
//! size.
//!
//! ```
//! use std::ops::ControlFlow;
//!
//! use eventflux_sqlparser::walk::Walk;
//! use sqlparser::ast::{Expr, Visitor};
//!
//! /// Counts expressions.
//! struct Count(usize);
//!
//! impl Visitor for Count {
//!     type Break = ();
//!
//!     fn pre_visit_expr(&mut self, _expr: &Expr) -> ControlFlow<()> {
//!         self.0 += 1;
//!         ControlFlow::Continue(())
//!     }
//! }
//!
//! let mut count = Count(0);
//! let _ = Expr::value(sqlparser::ast::Value::Null).walk(&mut count);
//! assert_eq!(count.0, 1);
//! ```

use std::ops::ControlFlow;

use sqlparser::ast::{
    Expr, FunctionArgumentList, FunctionArguments, JoinOperator, ObjectName, OrderBy, Query, Select, SelectItem,
    SetExpr, Statement, TableFactor, TableWithJoins, ValueWithSpan, Visit, VisitMut, Visitor, VisitorMut,
};

/// A tree that a visitor may look at.
pub trait Walk {
    /// Goes through the tree in sqlparser's order until the visitor breaks off.
    fn walk<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break>;
}

/// A tree that a visitor may change.
pub trait WalkMut {
    /// Goes through the tree in sqlparser's order until the visitor breaks off.
    fn walk_mut<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break>;
}

/// Looks at every expression of a tree, an outer one before those in it.
pub fn walk_expressions<B>(tree: &impl Walk, look: impl FnMut(&Expr) -> ControlFlow<B>) -> ControlFlow<B> {
    struct Look<F, B>(F, std::marker::PhantomData<B>);
    impl<B, F: FnMut(&Expr) -> ControlFlow<B>> Visitor for Look<F, B> {
        type Break = B;
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<B> {
            (self.0)(expr)
        }
    }
    tree.walk(&mut Look(look, std::marker::PhantomData))
}

/// Changes every expression of a tree, an outer one after those in it.
pub fn walk_expressions_mut<B>(
    tree: &mut impl WalkMut,
    change: impl FnMut(&mut Expr) -> ControlFlow<B>,
) -> ControlFlow<B> {
    struct Change<F, B>(F, std::marker::PhantomData<B>);
    impl<B, F: FnMut(&mut Expr) -> ControlFlow<B>> VisitorMut for Change<F, B> {
        type Break = B;
        fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<B> {
            (self.0)(expr)
        }
    }
    tree.walk_mut(&mut Change(change, std::marker::PhantomData))
}

/// Where a walk is.
enum Place<'a> {
    PreQuery(&'a Query),
    PostQuery(&'a Query),
    PreSelect(&'a Select),
    PostSelect(&'a Select),
    PreRelation(&'a ObjectName),
    PostRelation(&'a ObjectName),
    PreTableFactor(&'a TableFactor),
    PostTableFactor(&'a TableFactor),
    PreExpr(&'a Expr),
    PostExpr(&'a Expr),
    PreStatement(&'a Statement),
    PostStatement(&'a Statement),
    PreValue(&'a ValueWithSpan),
    PostValue(&'a ValueWithSpan),
}

/// The one visitor; it breaks off when the function says so.
struct Reader<'a>(&'a mut dyn FnMut(Place) -> ControlFlow<()>);

impl Visitor for Reader<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        (self.0)(Place::PreQuery(query))
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        (self.0)(Place::PostQuery(query))
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        (self.0)(Place::PreSelect(select))
    }

    fn post_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        (self.0)(Place::PostSelect(select))
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        (self.0)(Place::PreRelation(relation))
    }

    fn post_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
        (self.0)(Place::PostRelation(relation))
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        (self.0)(Place::PreTableFactor(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        (self.0)(Place::PostTableFactor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        (self.0)(Place::PreExpr(expr))
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        (self.0)(Place::PostExpr(expr))
    }

    fn pre_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        (self.0)(Place::PreStatement(statement))
    }

    fn post_visit_statement(&mut self, statement: &Statement) -> ControlFlow<()> {
        (self.0)(Place::PostStatement(statement))
    }

    fn pre_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        (self.0)(Place::PreValue(value))
    }

    fn post_visit_value(&mut self, value: &ValueWithSpan) -> ControlFlow<()> {
        (self.0)(Place::PostValue(value))
    }
}

/// Where a walk is that changes what it meets.
enum PlaceMut<'a> {
    PreQuery(&'a mut Query),
    PostQuery(&'a mut Query),
    PreSelect(&'a mut Select),
    PostSelect(&'a mut Select),
    PreRelation(&'a mut ObjectName),
    PostRelation(&'a mut ObjectName),
    PreTableFactor(&'a mut TableFactor),
    PostTableFactor(&'a mut TableFactor),
    PreExpr(&'a mut Expr),
    PostExpr(&'a mut Expr),
    PreStatement(&'a mut Statement),
    PostStatement(&'a mut Statement),
    PreValue(&'a mut ValueWithSpan),
    PostValue(&'a mut ValueWithSpan),
}

/// The one visitor that changes what it meets.
struct Writer<'a>(&'a mut dyn FnMut(PlaceMut) -> ControlFlow<()>);

impl VisitorMut for Writer<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreQuery(query))
    }

    fn post_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostQuery(query))
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreSelect(select))
    }

    fn post_visit_select(&mut self, select: &mut Select) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostSelect(select))
    }

    fn pre_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreRelation(relation))
    }

    fn post_visit_relation(&mut self, relation: &mut ObjectName) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostRelation(relation))
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreTableFactor(factor))
    }

    fn post_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostTableFactor(factor))
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreExpr(expr))
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostExpr(expr))
    }

    fn pre_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreStatement(statement))
    }

    fn post_visit_statement(&mut self, statement: &mut Statement) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostStatement(statement))
    }

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        (self.0)(PlaceMut::PreValue(value))
    }

    fn post_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        (self.0)(PlaceMut::PostValue(value))
    }
}

/// Trees whose walk is compiled here.
trait Tree {
    fn read(&self, reader: &mut Reader) -> ControlFlow<()>;
    fn write(&mut self, writer: &mut Writer) -> ControlFlow<()>;
}

impl<T: Tree> Walk for T {
    fn walk<V: Visitor>(&self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut broke = None;
        let mut look = |place: Place| {
            let flow = match place {
                Place::PreQuery(query) => visitor.pre_visit_query(query),
                Place::PostQuery(query) => visitor.post_visit_query(query),
                Place::PreSelect(select) => visitor.pre_visit_select(select),
                Place::PostSelect(select) => visitor.post_visit_select(select),
                Place::PreRelation(relation) => visitor.pre_visit_relation(relation),
                Place::PostRelation(relation) => visitor.post_visit_relation(relation),
                Place::PreTableFactor(factor) => visitor.pre_visit_table_factor(factor),
                Place::PostTableFactor(factor) => visitor.post_visit_table_factor(factor),
                Place::PreExpr(expr) => visitor.pre_visit_expr(expr),
                Place::PostExpr(expr) => visitor.post_visit_expr(expr),
                Place::PreStatement(statement) => visitor.pre_visit_statement(statement),
                Place::PostStatement(statement) => visitor.post_visit_statement(statement),
                Place::PreValue(value) => visitor.pre_visit_value(value),
                Place::PostValue(value) => visitor.post_visit_value(value),
            };
            flow.map_break(|value| broke = Some(value))
        };
        let _ = self.read(&mut Reader(&mut look));
        broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

impl<T: Tree> WalkMut for T {
    fn walk_mut<V: VisitorMut>(&mut self, visitor: &mut V) -> ControlFlow<V::Break> {
        let mut broke = None;
        let mut change = |place: PlaceMut| {
            let flow = match place {
                PlaceMut::PreQuery(query) => visitor.pre_visit_query(query),
                PlaceMut::PostQuery(query) => visitor.post_visit_query(query),
                PlaceMut::PreSelect(select) => visitor.pre_visit_select(select),
                PlaceMut::PostSelect(select) => visitor.post_visit_select(select),
                PlaceMut::PreRelation(relation) => visitor.pre_visit_relation(relation),
                PlaceMut::PostRelation(relation) => visitor.post_visit_relation(relation),
                PlaceMut::PreTableFactor(factor) => visitor.pre_visit_table_factor(factor),
                PlaceMut::PostTableFactor(factor) => visitor.post_visit_table_factor(factor),
                PlaceMut::PreExpr(expr) => visitor.pre_visit_expr(expr),
                PlaceMut::PostExpr(expr) => visitor.post_visit_expr(expr),
                PlaceMut::PreStatement(statement) => visitor.pre_visit_statement(statement),
                PlaceMut::PostStatement(statement) => visitor.post_visit_statement(statement),
                PlaceMut::PreValue(value) => visitor.pre_visit_value(value),
                PlaceMut::PostValue(value) => visitor.post_visit_value(value),
            };
            flow.map_break(|value| broke = Some(value))
        };
        let _ = self.write(&mut Writer(&mut change));
        broke.map_or(ControlFlow::Continue(()), ControlFlow::Break)
    }
}

/// A tree that is walked as sqlparser walks it. A macro, since a function would be compiled where it is called.
macro_rules! trees {
    ($($tree:ty),* $(,)?) => {$(
        impl Tree for $tree {
            fn read(&self, reader: &mut Reader) -> ControlFlow<()> {
                Visit::visit(self, reader)
            }

            fn write(&mut self, writer: &mut Writer) -> ControlFlow<()> {
                VisitMut::visit(self, writer)
            }
        }
    )*};
}

trees!(
    Expr,
    FunctionArgumentList,
    FunctionArguments,
    JoinOperator,
    Query,
    Select,
    SelectItem,
    SetExpr,
    Statement,
    TableWithJoins,
    Option<Box<Expr>>,
    Option<Expr>,
    Option<OrderBy>,
    Vec<Expr>,
    Vec<SelectItem>,
    Vec<TableWithJoins>,
);
