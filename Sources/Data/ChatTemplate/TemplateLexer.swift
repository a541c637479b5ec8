/// A piece of a Jinja template.
enum TemplateToken: Equatable {
    case output(String)
    /// The words and signs between `{{` and `}}`.
    case expression([Word])
    /// Those between `{%` and `%}`.
    case statement([Word])

    enum Word: Equatable {
        case name(String)
        case text(String)
        case int(Int)
        case sign(String)
    }
}

/// Cuts a template into text, expressions and statements, with `trim_blocks` and `lstrip_blocks` set as transformers sets
/// them: a statement on a line of its own leaves no trace of the line.
struct TemplateLexer {
    private let text: [Unicode.Scalar]
    private var index = 0

    init(_ template: String) {
        text = Array(template.unicodeScalars)
    }

    private func starts(_ mark: String, at position: Int) -> Bool {
        position <= text.count && text[position...].starts(with: mark.unicodeScalars)
    }

    mutating func tokens() throws(TemplateFailure) -> [TemplateToken] {
        var tokens: [TemplateToken] = []
        var output: [Unicode.Scalar] = []
        var end = text.count
        if text.last == "\n" { end -= 1 }  // one line break at the end does not count
        while index < end {
            guard text[index] == "{", index + 1 < text.count, "{%#".unicodeScalars.contains(text[index + 1]) else {
                output.append(text[index])
                index += 1
                continue
            }
            let kind = text[index + 1]
            index += 2
            if starts("-", at: index) {
                index += 1
                while output.last?.properties.isWhitespace == true { output.removeLast() }
            } else if starts("+", at: index) {
                index += 1
            } else if kind != "{" {
                stripLine(&output)
            }
            if !output.isEmpty { tokens.append(.output(String(String.UnicodeScalarView(output)))) }
            output = []
            let close = kind == "{" ? "}}" : kind == "%" ? "%}" : "#}"
            let words = kind == "#" ? [] : try words(until: close)
            if kind == "#" {
                while index < text.count, !starts(close, at: index) { index += 1 }
                guard index < text.count else { throw TemplateFailure("a comment is not closed") }
            }
            let strips = starts("-", at: index) || (kind == "#" && index > 0 && text[index - 1] == "-")
            let keeps = starts("+", at: index)
            if starts("-", at: index) || keeps { index += 1 }
            index += 2
            lastEndedLine = false
            if strips {
                while index < text.count, text[index].properties.isWhitespace { index += 1 }
                lastEndedLine = index > 0 && text[index - 1] == "\n"
            } else if kind != "{", !keeps, index < text.count, text[index] == "\n" {
                index += 1
                lastEndedLine = true
            }
            switch kind {
            case "{": tokens.append(.expression(words))
            case "%": tokens.append(.statement(words))
            default: break
            }
        }
        if !output.isEmpty { tokens.append(.output(String(String.UnicodeScalarView(output)))) }
        return tokens
    }

    /// Whether the text behind the last tag begins a line: the tag took the line break, or there was no tag.
    private var lastEndedLine = true

    /// Drops the spaces between the last line break and the tag, where there is nothing else.
    private func stripLine(_ output: inout [Unicode.Scalar]) {
        var kept = output.count
        while kept > 0, output[kept - 1] != "\n", output[kept - 1].properties.isWhitespace { kept -= 1 }
        if kept > 0 ? output[kept - 1] == "\n" : lastEndedLine { output.removeLast(output.count - kept) }
    }

    private mutating func words(until close: String) throws(TemplateFailure) -> [TemplateToken.Word] {
        var words: [TemplateToken.Word] = []
        var depth = 0
        while true {
            while index < text.count, text[index].properties.isWhitespace { index += 1 }
            guard index < text.count else { throw TemplateFailure("a tag is not closed by '\(close)'") }
            if depth == 0, starts(close, at: index) || starts("-" + close, at: index) || starts("+" + close, at: index)
            {
                return words
            }
            let scalar = text[index]
            if scalar == "'" || scalar == "\"" {
                words.append(.text(try string(scalar)))
            } else if scalar == "_" || scalar.properties.isAlphabetic {
                words.append(.name(run { $0 == "_" || $0.properties.isAlphabetic || "0"..."9" ~= $0 }))
            } else if "0"..."9" ~= scalar {
                guard let value = Int(run { "0"..."9" ~= $0 }), !starts(".", at: index) else {
                    throw TemplateFailure("only whole numbers are supported")
                }
                words.append(.int(value))
            } else {
                let sign = ["==", "!=", "<=", ">=", "//", "**"].first { starts($0, at: index) } ?? String(scalar)
                if "([{".contains(sign) { depth += 1 }
                if ")]}".contains(sign) { depth -= 1 }
                words.append(.sign(sign))
                index += sign.unicodeScalars.count
            }
        }
    }

    private mutating func run(_ belongs: (Unicode.Scalar) -> Bool) -> String {
        let start = index
        while index < text.count, belongs(text[index]) { index += 1 }
        return String(String.UnicodeScalarView(text[start..<index]))
    }

    private mutating func string(_ quote: Unicode.Scalar) throws(TemplateFailure) -> String {
        index += 1
        var result = String.UnicodeScalarView()
        while index < text.count, text[index] != quote {
            var scalar = text[index]
            index += 1
            if scalar == "\\", index < text.count {
                let letter = text[index]
                index += 1
                switch letter {
                case "n": scalar = "\n"
                case "t": scalar = "\t"
                case "r": scalar = "\r"
                case "\\", "'", "\"": scalar = letter
                default: throw TemplateFailure("the escape \\\(letter) in a string is not supported")
                }
            }
            result.append(scalar)
        }
        guard index < text.count else { throw TemplateFailure("a string is not closed") }
        index += 1
        return String(result)
    }
}
