/// Words for a shell.
package enum ShellText {
    package static func command(_ words: [String]) -> String { words.map(quoted).joined(separator: " ") }

    package static func quoted(_ text: String) -> String {
        let isPlain = text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "/._-+:,=@%".contains($0)) }
        return isPlain && !text.isEmpty ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
