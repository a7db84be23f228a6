#!/usr/bin/env python3
"""House rules that no compiler checks: spellings of co_await, sizes, line lengths, leftovers.

Usage: tidy.py [FILE...] (all sources by default). Prints path:line: why; exit status 1 if any.

One co_await per statement, its operands are names, never in a condition: some compilers get the
rest wrong, and the plain form reads better.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILE_LINES, FUNCTION_LINES, COLUMNS = 600, 70, 100


def blanked(text):
    """The text with comments and the insides of literals as spaces; line breaks stay."""
    keep = lambda m: re.sub(r'[^\n]', ' ', m.group())
    pattern = (r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]*)\(.*?\)(?P=d)"'
               r'|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'')
    return re.sub(pattern, keep, text, flags=re.S)


def statements(text):
    """(line, statement), split at ; { and } outside parentheses."""
    start, line, begun, depth = 0, 1, 1, 0
    for i, c in enumerate(text):
        if c in '([':
            depth += 1
        elif c in ')]':
            depth = max(0, depth - 1)
        elif c in ';{}' and depth == 0:
            yield begun, ' '.join(text[start:i].split())
            start, begun = i + 1, line
        if c == '\n':
            line += 1
        if not text[start:i + 1].strip():
            begun = line


def conditions(statement):
    """What stands in the parentheses of if, while and switch."""
    for match in re.finditer(r'\b(if|while|switch) \(', statement):
        depth, end = 1, match.end()
        while end < len(statement) and depth:
            depth += {'(': 1, ')': -1}.get(statement[end], 0)
            end += 1
        yield statement[match.end():end]


def awaits(text):
    for line, s in statements(text):
        if 'co_await' not in s:
            continue
        if any('co_await' in condition for condition in conditions(s)):
            yield line, 'co_await in a condition: name the result first'
        elif s.count('co_await') > 1:
            yield line, 'two co_await in one statement'
        elif re.search(r'co_await[^;]*\?|\?[^;]*co_await', s):
            yield line, '?: with co_await: use if'
        elif re.search(r'(&&|\|\|)[^;()]*co_await', s):
            yield line, '&& or || before co_await: name the result first'
        elif re.search(r'co_await.*[\w)]\{', s):
            yield line, 'a braced temporary with co_await: name it first'
        elif re.search(r'[(,] ?\[(=|&|\w)[^\]]*\] ?[({]', s.split('co_await', 1)[1]):
            yield line, 'a capturing lambda with co_await: name it first'


def functions(text):
    """(line, number of lines) of every function body at the outermost level of braces."""
    stack, line, head, start = [], 1, '', 0
    for i, c in enumerate(text):
        if c == '{':
            head = text[start:i]
            scope = re.search(r'\b(namespace|class|struct|enum|union)\b[^;()]*$', head)
            body = not scope and head.rstrip().endswith(
                (')', 'const', 'override', 'noexcept', 'final')) or re.search(
                    r'\) ?(const )?(->|:) ?[^;]*$', head) is not None and not scope
            inside = any(kind for kind, _ in stack)
            stack.append((body and not inside, line))
            start = i + 1
        elif c == '}':
            if stack:
                body, first = stack.pop()
                if body:
                    yield first, line - first + 1
            start = i + 1
        elif c == ';':
            start = i + 1
        if c == '\n':
            line += 1


def check(path):
    raw = path.read_text()
    lines = raw.splitlines()
    if len(lines) > FILE_LINES:
        yield 1, f'{len(lines)} lines, at most {FILE_LINES}'
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS and path.suffix != '.def' and not line.startswith('#include'):
            yield number, f'{len(line)} columns, at most {COLUMNS}'
        if re.search(r'\b(TODO|FIXME|XXX)\b', line):
            yield number, 'a leftover mark'
        if line != line.rstrip():
            yield number, 'white space at the end'
    if path.suffix == '.def':
        return
    text = blanked(raw)
    yield from awaits(text)
    for first, length in functions(text):
        if length > FUNCTION_LINES:
            yield first, f'a function of {length} lines, at most {FUNCTION_LINES}'


def sources():
    for folder in ('cli', 'core', 'transports', 'tests'):
        for path in sorted((ROOT / folder).rglob('*')):
            if path.suffix in ('.cpp', '.hpp', '.def'):
                yield path


def main():
    bad = 0
    for path in [pathlib.Path(p).resolve() for p in sys.argv[1:]] or list(sources()):
        for line, why in check(path):
            print(f'{path.relative_to(ROOT)}:{line}: {why}')
            bad = 1
    return bad


if __name__ == '__main__':
    sys.exit(main())
