import Formats
import Foundation
import Processes

/// A plugin's name that is also a C, C++, Rust and Swift identifier.
package enum PluginName {
    /// Names that mean something else in one of the languages.
    private static let taken: Set<String> = [
        "Any", "AnyParameter", "Array", "ArrayMut", "ArrayView", "BlockGroup", "BlockKind", "BlockScope", "Bool", "Box",
        "Character", "Double", "Element", "HookCode", "HookPoint", "HookValues", "ProbeTemplate", "Shape", "TapLayer",
        "TapPooling", "TapTokens",
        "Error", "Float", "Hook", "Hooks", "Input", "Int", "MutableArrayView", "Never", "None", "Option", "Optional",
        "Out", "Output", "Parameter", "ParameterRow", "Plugin", "PluginAPI", "PluginDescription", "PluginError",
        "PluginKit", "Protocol", "Reader", "Result", "Scalar", "Self", "Sendable", "Set", "Settings", "Some",
        "StateReader",
        "StateWriter", "String", "Swift", "Type", "Vec", "Void", "Writer", "Err", "Ok", "Dictionary", "Encodable",
        "Decodable",
        "Codable", "Sequence", "Glibc", "Foundation", "FILE", "INFINITY", "NAN", "NULL", "EOF", "IN", "OUT",
    ]

    /// Throws ``TemplateError`` with what is wrong with the name.
    package static func check(_ name: String) throws {
        let isIdentifier =
            name.utf8.count <= 64 && name.first.map { $0.isASCII && $0.isUppercase } == true
            && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
        guard isIdentifier else {
            throw TemplateError(
                .name,
                "'\(name)' cannot be a plugin's name in every language: start with a capital letter and use letters and "
                    + "digits, at most 64, such as GradientCap")
        }
        guard !taken.contains(name) else {
            throw TemplateError(.name, "'\(name)' means something else in C, C++, Rust or Swift; take another name")
        }
        let shipped = Installation.executableFolder + "/lib\(name).so"
        guard !FileManager.default.fileExists(atPath: shipped) else {
            throw TemplateError(.name, "'\(name)' is a plugin that ships with craft (\(shipped)); take another name")
        }
    }
}
