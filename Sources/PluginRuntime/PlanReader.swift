/// Reads what `plan` hooks gave; what no host can do is refused in the name of the plugin that gave it.
struct PlanReader {
    let values: ValueStore
    let composition: Composition
    let facts: PlanFacts

    func refusal(of name: String, _ problem: String) -> PluginFailure {
        PluginFailure(
            plugin: composition.provider(of: name) ?? "", point: .plan, step: 0,
            message: "its result '\(name)': \(problem)",
            kind: .error)
    }

    /// A code of the interface; nil when nobody gave it.
    func code<Code: HookCode>(_ name: String, as type: Code.Type) throws -> Code? {
        do throws(UnknownCode) {
            return try values.code(name, as: type)
        } catch {
            throw refusal(of: name, "\(error.code) stands for nothing; there are \(error.table.valuesText)")
        }
    }

    /// The texts in the rows of an array of bytes; empty rows are left out.
    func texts(_ name: String) throws -> [String] {
        guard let array = values.array(name), array.element == .i64, array.shape.count == 2 else { return [] }
        let width = array.shape[1]
        return try (0..<array.shape[0]).compactMap { row in
            let codes = array.integers[row * width..<(row + 1) * width]
            let bytes = codes.prefix { $0 != 0 }
            guard !bytes.isEmpty else { return nil }
            guard codes[bytes.endIndex...].allSatisfy({ $0 == 0 }), bytes.allSatisfy({ (1...255).contains($0) }),
                let text = String(validating: bytes.map { UInt8($0) }, as: UTF8.self)
            else {
                throw refusal(
                    of: name,
                    "row \(row) is not a text; expected its UTF-8 bytes, one an element, and zeros after them")
            }
            return text
        }
    }
}
