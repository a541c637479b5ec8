import PluginAPI
internal import Spelling

/// Reading the table a plugin returns, trusting nothing but its pointers.
extension PluginLibrary {
    /// Copies the table after checking version and size. A longer table of a later minor is cut; the members that a
    /// shorter one of an earlier minor lacks are 0.
    static func readTable(
        _ pointer: UnsafePointer<craft_plugin>, _ path: String, host: ABIVersion
    ) throws(PluginLoadError) -> craft_plugin {
        // The first four words are the frozen part: size, major, minimum minor, state version.
        let words = UnsafeRawPointer(pointer)
        let size = words.loadUnaligned(as: UInt32.self)
        let major = words.loadUnaligned(fromByteOffset: 4, as: UInt32.self)
        let minimumMinor = words.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
        guard major == host.major else {
            throw PluginLoadError(
                .abiMajor, path, "it was built for plugin ABI \(major), this host speaks ABI \(host)",
                hint: "rebuild the plugin against this host's craft_plugin.h")
        }
        guard minimumMinor <= host.minor else {
            throw PluginLoadError(
                .abiMinor, path,
                "it needs plugin ABI \(major).\(minimumMinor) or later, this host speaks ABI \(host)",
                hint: "use a newer craft, or build the plugin to need less")
        }
        guard size >= CRAFT_PLUGIN_SIZE_1_0 else {
            throw PluginLoadError(
                .structSize, path, "its table says it has \(size) bytes, ABI \(major).0 has \(CRAFT_PLUGIN_SIZE_1_0)",
                hint: "set struct_size to sizeof(craft_plugin)")
        }
        return PluginTable.row(at: words, size: Int(size))
    }

    /// What the plugin's card says (the extension "craft.card/1"); empty texts when it has none.
    static func readCard(
        _ table: craft_plugin, _ path: String
    ) throws(PluginLoadError) -> (formula: String, reference: String) {
        guard let extensions = table.extension,
            let address = try call("extension", path, { extensions(CRAFT_CARD_ID) })
        else { return ("", "") }
        let size = address.loadUnaligned(as: UInt32.self)
        guard size >= UInt32(MemoryLayout<craft_card>.size) else {
            throw PluginLoadError(
                .structSize, path,
                "its card says it has \(size) bytes, at least \(MemoryLayout<craft_card>.size) are needed",
                hint: "set struct_size to sizeof(craft_card)")
        }
        let card: craft_card = PluginTable.row(at: address, size: Int(size))
        return (card.formula.map { String(cString: $0) } ?? "", card.reference.map { String(cString: $0) } ?? "")
    }

    static func readParameters(_ table: craft_plugin, _ path: String) throws(PluginLoadError) -> [Parameter] {
        let rows: [craft_parameter] = try rows(
            UnsafeRawPointer(table.parameters), table.parameter_count, table.parameter_size,
            smallest: UInt32(CRAFT_PARAMETER_SIZE_1_0), "parameter", path)
        var parameters: [Parameter] = []
        for row in rows {
            let parameter = try readParameter(row, path)
            guard !parameters.contains(where: { $0.name == parameter.name }) else {
                throw PluginLoadError(.table, path, "it declares the setting '\(parameter.name)' twice")
            }
            parameters.append(parameter)
        }
        return parameters
    }

    private static func readParameter(_ row: craft_parameter, _ path: String) throws(PluginLoadError) -> Parameter {
        let name = try text(row.name, "parameter name", path)
        guard name.allSatisfy({ $0.isASCIILetter || $0.isASCIIDigit || $0 == "_" }), name != "instance" else {
            throw PluginLoadError(
                .table, path, "'\(name)' cannot name a setting",
                hint: "use letters, digits and '_'; 'instance' is reserved")
        }
        let kind: Parameter.Kind
        switch Int(row.type) {
        case Int(CRAFT_I64): kind = .i64
        case Int(CRAFT_F64): kind = .f64
        case Int(CRAFT_BOOL): kind = .bool
        case Int(CRAFT_STRING): kind = .string
        default: throw PluginLoadError(.table, path, "setting '\(name)' has the unknown type \(row.type)")
        }
        guard let defaultText = row.default_value else {
            throw PluginLoadError(.table, path, "setting '\(name)' has no default (NULL)")
        }
        var choices: [String] = []
        if var next = row.choices {
            while let choice = next.pointee {
                choices.append(String(cString: choice))
                next += 1
            }
        }
        let isNumber = kind == .i64 || kind == .f64
        let parameter = Parameter(
            name: name, kind: kind, defaultText: String(cString: defaultText),
            minimum: isNumber && row.minimum > -.infinity ? row.minimum : nil,
            maximum: isNumber && row.maximum < .infinity ? row.maximum : nil,
            choices: choices, doc: row.doc.map { String(cString: $0) } ?? "")
        do {
            _ = try parameter.value(of: parameter.defaultText)
        } catch {
            throw PluginLoadError(.table, path, "the default of setting '\(name)' is not valid: it \(error.problem)")
        }
        return parameter
    }

    static func readHooks(_ table: craft_plugin, _ path: String) throws(PluginLoadError) -> [Hook] {
        let rows: [craft_hook] = try rows(
            UnsafeRawPointer(table.hooks), table.hook_count, table.hook_size,
            smallest: UInt32(CRAFT_HOOK_SIZE_1_0), "hook", path)
        guard !rows.isEmpty else {
            throw PluginLoadError(.table, path, "it declares no hook", hint: "a plugin without hooks does nothing")
        }
        var hooks: [Hook] = []
        for (index, row) in rows.enumerated() { hooks.append(try readHook(row, index, path)) }
        return hooks
    }

    private static func readHook(_ row: craft_hook, _ index: Int, _ path: String) throws(PluginLoadError) -> Hook {
        let pointName = try text(row.point, "point of hook \(index + 1)", path)
        guard let point = HookPoint(rawValue: pointName) else {
            let points = HookPoint.allCases.map(\.rawValue)
            throw PluginLoadError(
                .table, path, "hook \(index + 1) is for '\(pointName)', which is not a hook point",
                hint: Suggestion.hint(
                    for: pointName, among: points, otherwise: "hook points: \(points.joined(separator: ", "))"))
        }
        let text = try text(row.signature, "signature of its \(pointName) hook", path)
        let signature: Signature
        do {
            signature = try Signature(parsing: text)
        } catch {
            throw PluginLoadError(.signature, path, "the signature of its \(pointName) hook, \"\(text)\": \(error)")
        }
        guard let function = row.function else {
            throw PluginLoadError(.table, path, "its \(pointName) hook has no function (NULL)")
        }
        guard row.call == Int32(CRAFT_CALL_NATIVE) || row.call == Int32(CRAFT_CALL_FRAME) else {
            throw PluginLoadError(.table, path, "its \(pointName) hook asks for the unknown call form \(row.call)")
        }
        try checkCodes(row, signature, "its \(pointName) hook", text, path)
        return Hook(
            point: point, signatureText: text, signature: signature,
            isFrame: row.call == Int32(CRAFT_CALL_FRAME),
            function: Function(address: function, context: row.context))
    }

    /// The string must not be able to lie: the types of the function's real parameters, which the plugin's compiler
    /// saw, have to be those the signature describes, and neither may have been edited since.
    private static func checkCodes(
        _ row: craft_hook, _ signature: Signature, _ hook: String, _ text: String, _ path: String
    ) throws(PluginLoadError) {
        let expected = signature.codes
        let actual = row.codes.map { String(cString: $0) } ?? ""
        let items = signature.inputs + signature.results
        let isSame = actual == expected
        if !isSame, actual.count == expected.count {
            for (item, (want, have)) in zip(items, zip(expected, actual)) where want != have {
                throw PluginLoadError(
                    .signatureHash, path,
                    "the signature of \(hook) says '\(item)', passed as \(cType(want)), but the function takes \(cType(have))",
                    hint: "declare signature and function from one list (CRAFT_HOOK)")
            }
        }
        guard isSame else {
            throw PluginLoadError(
                .signatureHash, path,
                "the signature of \(hook) has \(expected.count) items, the function takes \(actual.count) arguments",
                hint: "declare signature and function from one list (CRAFT_HOOK)")
        }
        let hash = craft_signature_hash(text, actual)
        guard hash == row.signature_hash else {
            throw PluginLoadError(
                .signatureHash, path,
                "the signature hash of \(hook) is wrong: \"\(text)\" hashes to 0x\(String(hash, radix: 16)), "
                    + "the plugin says 0x\(String(row.signature_hash, radix: 16))",
                hint: "the signature was changed without the function: declare both from one list (CRAFT_HOOK)")
        }
    }

    private static func cType(_ code: Character) -> String {
        switch code {
        case "d": "double"
        case "l": "int64_t"
        case "D": "const double *"
        case "L": "const int64_t *"
        case "A": "const craft_array *"
        case "x": "double *"
        case "y": "int64_t *"
        case "Z": "craft_array *"
        default: "an unknown type ('\(code)')"
        }
    }

    /// Rows of a descriptor table of this or another minor, whose rows may be longer or shorter than this host's.
    ///
    /// - Parameter smallest: bytes of a row in ABI 1.0.
    private static func rows<Row: BitwiseCopyable>(
        _ base: UnsafeRawPointer?, _ count: UInt32, _ stride: UInt32, smallest: UInt32, _ what: String, _ path: String
    ) throws(PluginLoadError) -> [Row] {
        guard count > 0 else { return [] }
        guard let base else { throw PluginLoadError(.table, path, "it declares \(count) \(what)s at NULL") }
        guard count <= 1024 else { throw PluginLoadError(.table, path, "it declares \(count) \(what)s, at most 1024") }
        guard stride >= smallest else {
            throw PluginLoadError(
                .structSize, path,
                "its \(what) rows have \(stride) bytes, ABI \(CRAFT_ABI_MAJOR).0 has \(smallest)",
                hint: "set \(what)_size to sizeof(craft_\(what))")
        }
        return PluginTable.rows(at: base, count: Int(count), size: Int(stride))
    }
}

/// Reading structs whose writer was compiled with another minor of the ABI: minors only append members.
package enum PluginTable {
    /// A struct of which `size` bytes are there. What is longer is cut, what is missing is 0.
    package static func row<Row: BitwiseCopyable>(at pointer: UnsafeRawPointer, size: Int) -> Row {
        withUnsafeTemporaryAllocation(of: Row.self, capacity: 1) { memory in
            let bytes = UnsafeMutableRawBufferPointer(memory)
            bytes.initializeMemory(as: UInt8.self, repeating: 0)
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: pointer, count: min(size, MemoryLayout<Row>.size)))
            return memory[0]
        }
    }

    /// Structs one after the other, `size` bytes from each to the next.
    package static func rows<Row: BitwiseCopyable>(at pointer: UnsafeRawPointer, count: Int, size: Int) -> [Row] {
        (0..<count).map { row(at: pointer + $0 * size, size: size) }
    }
}
