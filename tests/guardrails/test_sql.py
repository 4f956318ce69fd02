"""What SQL does is read from its parse, in every dress."""

from __future__ import annotations

import pytest
from labelled import wrong

from remit.errors import BadInput
from remit.guardrails.sql import sql

POSTGRES = [
    ("select 1", "parsed"),
    ("SELECT id, name FROM customers WHERE id = 7", "parsed"),
    ("select * from customers", "parsed stars"),
    ("select count(*) from customers", "parsed"),
    ("select c.* from customers c", "parsed stars"),
    ("select a from t union select b from u", "parsed"),
    ("select a from t except select a from u", "parsed"),
    ("values (1), (2)", "parsed"),
    ("select 'drop table x'", "parsed"),
    ("select 'it''s; delete from t'", "parsed"),
    ('select "delete" from "update"', "parsed"),
    ("select $$ delete from t $$", "parsed"),
    ("with a as (select 1 as x) select x from a", "parsed"),
    ("select a from t order by b limit 10 offset 5", "parsed"),
    ("select sum(amount) over (partition by k) from t", "parsed"),
    ("select a -- delete from t\nfrom t", "parsed comments"),
    ("select a /* drop table t */ from t", "parsed comments"),
    ("select lower(name) from t group by 1 having count(*) > 1", "parsed"),
    ("select case when a > 1 then 2 else 3 end from t", "parsed"),
    ("select a from t where exists (select 1 from u where u.id = t.id)", "parsed"),
    ("select t.a from t join u using (id) left join v on v.id = u.id", "parsed"),
    ("select coalesce(a, b)::text from t", "parsed"),
    ("select now()", "parsed"),
    ("begin", "parsed"),
    ("commit", "parsed"),
    ("insert into t (a) values (1)", "parsed writes"),
    ("INSERT INTO t SELECT a FROM u", "parsed writes"),
    ("insert into t values (1) on conflict (a) do update set a = 2", "parsed writes"),
    ("insert into t values (1) returning *", "parsed writes stars"),
    ("update t set a = 1 where id = 3", "parsed writes"),
    ("update t set a = 1", "parsed writes everywhere"),
    ("UPDATE t SET a = 1 WHERE 1 = 1", "parsed writes everywhere"),
    ("update t set a = 1 where true", "parsed writes everywhere"),
    ("update t set a = 1 where not false", "parsed writes everywhere"),
    ("update t set a = 1 where 'a' = 'a'", "parsed writes everywhere"),
    ("update t set a = 1 where id = id", "parsed writes everywhere"),
    ("update t set a = 1 where id = 3 or 1 = 1", "parsed writes everywhere"),
    ("update t set a = 1 where id = 3 or 2 > 1", "parsed writes everywhere"),
    ("update t set a = 1 where id = 3 or id = id", "parsed writes everywhere"),
    ("update t set a = 1 where id = 3 and 1 = 1", "parsed writes"),
    ("delete from t where id = 3", "parsed writes"),
    ("delete from t", "parsed writes everywhere"),
    ("DeLeTe FrOm t", "parsed writes everywhere"),
    ("delete/**/from/**/t", "parsed writes everywhere comments"),
    ("delete\nfrom\tt", "parsed writes everywhere"),
    ("delete from t where 1", "parsed writes everywhere"),
    ("delete from t using u where t.id = u.id", "parsed writes"),
    ("with gone as (delete from t where a = 1 returning a) select a from gone", "parsed writes"),
    ("with gone as (delete from t returning a) select a from gone", "parsed writes everywhere"),
    ("with n as (insert into t values (1) returning a) select a from n", "parsed writes"),
    ("with u as (update t set a = 1 where b = 2 returning a) select count(*) from u", "parsed writes"),
    ("merge into t using s on t.id = s.id when matched then delete", "parsed writes"),
    ("select a into backup from t", "parsed writes"),
    ("copy t to '/tmp/x.csv'", "parsed writes outside"),
    ("copy t from '/tmp/x.csv'", "parsed writes outside"),
    ("copy (select a from t) to program 'curl http://x'", "parsed writes outside"),
    ("drop table t", "parsed changes"),
    ("DROP TABLE IF EXISTS t CASCADE", "parsed changes"),
    ("select 1; drop table t", "parsed changes"),
    ("select 1;; drop table t;", "parsed changes"),
    ("drop database prod", "parsed changes"),
    ("drop schema public cascade", "parsed changes"),
    ("create table t (a int)", "parsed changes"),
    ("create table t as select a from u", "parsed changes"),
    ("create index i on t (a)", "parsed changes"),
    ("create view v as select a from t", "parsed changes"),
    ("alter table t add column b int", "parsed changes"),
    ("alter table t drop column b", "parsed changes"),
    ("truncate t", "parsed writes changes everywhere"),
    ("truncate table t cascade", "parsed writes changes everywhere"),
    ("grant all on t to bob", "parsed changes"),
    ("revoke select on t from bob", "parsed changes"),
    ("comment on table t is 'x'", "parsed changes"),
    ("set role admin", "writes changes"),
    ("set statement_timeout = 0", "parsed changes"),
    ("select pg_read_file('/etc/passwd')", "parsed outside"),
    ("select PG_READ_FILE('/etc/passwd')", "parsed outside"),
    ("select pg_catalog.pg_read_file('/etc/passwd')", "parsed outside"),
    ("select a from dblink('host=x', 'select 1') as t(a int)", "parsed outside"),
    ("select lo_import('/etc/passwd')", "parsed outside"),
    ("select set_config('role', 'admin', false)", "parsed outside"),
    ("select query_to_xml('delete from t', true, true, '')", "parsed outside"),
    ("select a from t where b = (select pg_read_file('x'))", "parsed outside"),
    ("explain select a from t", "writes changes"),
    ("explain analyze delete from t", "writes changes"),
    ("call purge()", "writes changes"),
    ("do $$ begin delete from t; end $$", "writes changes"),
    ("prepare p as delete from t", "writes changes"),
    ("execute p", "writes changes"),
    ("vacuum", "writes changes"),
    ("lock table t", "writes changes"),
    ("notify c", "writes changes"),
    ("reset all", "writes changes"),
    ("selct a from t", "writes changes"),
    ("select from where", "writes changes"),
    ("select (((1)", "writes changes"),
    ("'; drop table t; --", "writes changes"),
    ("please list the customers", "writes changes"),
    ("/*! drop table t */ select 1", "writes changes"),
    ("select 1 /*!50000 ; drop table t */", "writes changes"),
    ("select 1\0; drop table t", "writes changes"),
    ("(" * 80 + "select 1" + ")" * 80, "writes changes"),
    ("", "parsed"),
    ("-- nothing", "parsed"),
]
OTHERS = [
    ("mysql", "select `a` from `t` limit 1", "parsed"),
    ("mysql", "replace into t values (1)", "writes changes"),
    ("mysql", "delete t from t join u on t.id = u.id", "parsed writes everywhere"),
    ("mysql", "select load_file('/etc/passwd')", "parsed outside"),
    ("mysql", "select a from t into outfile '/tmp/x'", "writes changes"),
    ("mysql", "select 1 # drop table t", "parsed comments"),
    ("sqlite", "select a from t where b glob 'x*'", "parsed"),
    ("sqlite", "insert or replace into t values (1)", "parsed writes"),
    ("sqlite", "attach database '/etc/x' as y", "parsed changes"),
    ("sqlite", "pragma writable_schema = 1", "parsed changes"),
    ("sqlite", "select load_extension('x')", "parsed outside"),
    ("sqlite", "select writefile('x', 'y')", "parsed outside"),
    ("tsql", "select top 5 a from dbo.t", "parsed"),
    ("tsql", "exec xp_cmdshell 'dir'", "writes changes"),
    ("tsql", "select a from openrowset('x', 'y', 'z')", "parsed outside"),
    ("duckdb", "select * from read_csv('/etc/passwd')", "parsed stars outside"),
    ("bigquery", "select a from `p.d.t`", "parsed"),
    ("bigquery", "merge d.t using d.s on t.a = s.a when not matched then insert row", "parsed writes"),
]


def test_each_labelled_statement_is_read_as_what_it_does() -> None:
    assert len(POSTGRES) + len(OTHERS) >= 100
    assert wrong(sql("postgres"), POSTGRES) == ""


@pytest.mark.parametrize(("dialect", "text", "labels"), OTHERS)
def test_each_dialect_is_read_as_its_own(dialect: str, text: str, labels: str) -> None:
    assert wrong(sql(dialect), [(text, labels)]) == ""


def test_tables_columns_and_kinds_are_named_as_far_qualified_as_written() -> None:
    facts = (
        sql("postgres")
        .look([("/q", "with x as (select A from Sales.Orders) select x.a, b from x, t; drop table u")])
        .facts
    )
    assert facts.tables == ("sales.orders", "t", "u")
    assert facts.columns == ("a", "b")
    assert facts.kinds == ("drop", "select")
    assert facts.statements == 2


def test_a_table_that_shares_its_name_with_a_cte_elsewhere_is_named_when_it_is_qualified() -> None:
    assert sql().look([("/q", "with x as (select 1) select * from x join s.x on true")]).facts.tables == ("s.x",)


def test_several_arguments_are_taken_together_and_each_finding_says_where() -> None:
    report = sql().look([("/a", "select 1"), ("/b", ["delete from t where a = 1"])])
    assert report.facts.writes
    assert {finding.pointer for finding in report.findings} == {"/b/0"}


def test_what_is_longer_than_the_limit_is_not_parsed_and_so_may_do_anything() -> None:
    facts = sql(longest=20).look([("/q", "select 1" + " " * 20)]).facts
    assert (facts.parsed, facts.writes, facts.changes) == (False, True, True)


def test_a_dialect_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BadInput, match="no SQL dialect `cobol`"):
        sql("cobol")
