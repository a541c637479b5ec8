public import PluginAPI

/// A type a setting can have: `Int`, `Double`, `Bool`, `String`, or an enumeration with `String` raw values.
public protocol SettingValue: Sendable {
    /// `CRAFT_I64`, `CRAFT_F64`, `CRAFT_BOOL` or `CRAFT_STRING`.
    static var settingType: Int32 { get }
    /// The only values allowed; empty for any.
    static var settingChoices: [String] { get }
    /// As a user would type it.
    var settingText: String { get }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    init?(integer: Int64, number: Double, text: String)
}

extension SettingValue {
    /// What the setting may be; empty when any value of its type will do.
    public static var settingChoices: [String] { [] }
}

extension Int: SettingValue {
    /// The type at the boundary.
    public static var settingType: Int32 { Int32(CRAFT_I64) }
    /// The value as text that reads back to it.
    public var settingText: String { String(self) }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    public init?(integer: Int64, number: Double, text: String) { self.init(exactly: integer) }
}

extension Double: SettingValue {
    /// The type at the boundary.
    public static var settingType: Int32 { Int32(CRAFT_F64) }
    /// The value as text that reads back to it.
    public var settingText: String { String(self) }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    public init?(integer: Int64, number: Double, text: String) { self = number }
}

extension Bool: SettingValue {
    /// The type at the boundary.
    public static var settingType: Int32 { Int32(CRAFT_BOOL) }
    /// The value as text that reads back to it.
    public var settingText: String { String(self) }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    public init?(integer: Int64, number: Double, text: String) { self = integer != 0 }
}

extension String: SettingValue {
    /// The type at the boundary.
    public static var settingType: Int32 { Int32(CRAFT_STRING) }
    /// The value as text that reads back to it.
    public var settingText: String { self }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    public init?(integer: Int64, number: Double, text: String) { self = text }
}

/// Adopt beside `String, CaseIterable` to use an enumeration as a setting with a fixed set of choices.
public protocol SettingChoice: SettingValue, RawRepresentable, CaseIterable where RawValue == String {}

extension SettingChoice {
    /// The type at the boundary.
    public static var settingType: Int32 { Int32(CRAFT_STRING) }
    /// What the setting may be; empty when any value of its type will do.
    public static var settingChoices: [String] { allCases.map(\.rawValue) }
    /// The value as text that reads back to it.
    public var settingText: String { rawValue }
    /// Reads the value as the host gives it: by the field of its type. nil when it is not one.
    public init?(integer: Int64, number: Double, text: String) { self.init(rawValue: text) }
}

/// A parameter of any value type; what ``Plugin/parameters`` lists.
public protocol AnyParameter: Sendable {
    /// The row in the plugin's table.
    func makeRow() -> craft_parameter
}

/// A setting the plugin takes, and the key to read it with.
public struct Parameter<Value: SettingValue>: AnyParameter {
    let name: StaticString
    let defaultValue: Value
    let minimum: Double
    let maximum: Double
    let doc: StaticString

    /// - Parameter doc: one sentence, with the unit where there is one.
    public init(_ name: StaticString, default defaultValue: Value, _ doc: StaticString) {
        self.name = name
        self.defaultValue = defaultValue
        self.doc = doc
        minimum = -.infinity
        maximum = .infinity
    }

    /// The row in the plugin's table.
    public func makeRow() -> craft_parameter {
        var row = craft_parameter()
        row.name = cString(name)
        row.type = Value.settingType
        row.default_value = cString(copying: defaultValue.settingText)
        row.minimum = minimum
        row.maximum = maximum
        row.choices = cStrings(copying: Value.settingChoices)
        row.doc = cString(doc)
        return row
    }
}

extension Parameter where Value: Numeric {
    /// - Parameters:
    ///   - minimum: the least value allowed.
    ///   - maximum: the greatest value allowed.
    ///   - doc: one sentence, with the unit where there is one.
    public init(
        _ name: StaticString, default defaultValue: Value, minimum: Double = -.infinity, maximum: Double = .infinity,
        _ doc: StaticString
    ) {
        self.name = name
        self.defaultValue = defaultValue
        self.minimum = minimum
        self.maximum = maximum
        self.doc = doc
    }
}

/// The settings of an instance, checked by the host against the parameters.
public struct Settings {
    private let table: UnsafePointer<craft_settings>

    init(_ table: UnsafePointer<craft_settings>) { self.table = table }

    /// The name the user gave this instance.
    public var instance: String { table.pointee.instance.map { String(cString: $0) } ?? "" }

    /// The value of a parameter that ``Plugin/parameters`` lists. Throws ``PluginError`` when it does not.
    public func callAsFunction<Value: SettingValue>(_ parameter: Parameter<Value>) throws -> Value {
        let name = parameter.name.description
        for index in 0..<table.pointee.count {
            guard let row = craft_setting_at(table, index), String(cString: row.pointee.name) == name else { continue }
            let text = row.pointee.text.map { String(cString: $0) } ?? ""
            guard let value = Value(integer: row.pointee.i64, number: row.pointee.f64, text: text) else {
                throw PluginError("setting '\(name)' cannot be '\(text)'")
            }
            return value
        }
        throw PluginError("the plugin reads the setting '\(name)', which its parameters do not list")
    }
}
