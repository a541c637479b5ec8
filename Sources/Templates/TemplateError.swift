package import Formats

/// What kept a plugin folder from being written.
package enum TemplateErrorCode: String, ErrorCode {
    /// The name is not one in every language, or is taken.
    case name
    /// The files that plugins are built from are not where they should be.
    case missingSDK
    case folder
}

package typealias TemplateError = CodedError<TemplateErrorCode>
