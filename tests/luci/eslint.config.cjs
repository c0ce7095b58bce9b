/* LuCI's rules for its views, and stricter ones of our own; for the key server's pages, too. Run from the top of the repository; see tests/lint. */

const js = require('@eslint/js');
const json = require('@eslint/json').default;
const globals = require('globals');

const readonly = names => Object.fromEntries(names.map(name => [ name, 'readonly' ]));

const own = {
	'no-control-regex': 'off',
	'no-eval': 'error',
	'no-implied-eval': 'error',
	'no-undef': 'error',
	'no-unused-vars': [ 'error', { 'caughtErrors': 'none' } ],
	'no-var': 'error',
	'prefer-const': 'error',
	'semi': [ 'error', 'always' ]
};

/* The third argument of E() is made HTML of when it is a lone string. */
const LONE = 'CallExpression[callee.name="E"] > :matches(Literal, TemplateLiteral, CallExpression[callee.name="_"], BinaryExpression).arguments:not(:first-child)';

module.exports = [
	{ ignores: [ '**/node_modules/' ] },
	{
		files: [ '**/*.json' ],
		ignores: [ '**/package-lock.json' ],
		plugins: { json: json },
		language: 'json/json',
		rules: { ...json.configs.recommended.rules }
	},
	{
		files: [ 'luci-{app,proto}-tsg/**/*.js', 'tests/luci/host/**/*.js' ],
		languageOptions: {
			sourceType: 'script',
			ecmaVersion: 2022,
			globals: {
				...globals.browser,
				...readonly([ '_', 'N_', 'L', 'E', 'baseclass', 'dom', 'form', 'fs', 'network', 'poll', 'request', 'rpc', 'uci', 'ui', 'view', 'widgets' ]),
				/* By the names that our views give them. */
				...readonly([ 'alarms', 'changes', 'chart', 'counters', 'gateway', 'list', 'parts', 'ports', 'rules', 'shape', 'verdict' ])
			},
			parserOptions: { ecmaFeatures: { globalReturn: true } }
		},
		/* A module that LuCI knows may have a variable of its name elsewhere. */
		rules: { ...js.configs.recommended.rules, 'no-prototype-builtins': 'off', 'no-redeclare': 'off', ...own }
	},
	{
		files: [ 'luci-{app,proto}-tsg/**/*.js' ],
		rules: {
			'no-restricted-properties': [ 'error', ...[ 'innerHTML', 'outerHTML', 'insertAdjacentHTML', 'rawhtml' ].map(name => ({ property: name })) ],
			'no-restricted-syntax': [ 'error', { selector: LONE, message: 'LuCI makes HTML of a string that stands alone: give an array' } ]
		}
	},
	{
		files: [ 'tests/luci/*.js', 'tests/luci/{cases,mock}/**/*.js' ],
		languageOptions: { sourceType: 'module', ecmaVersion: 2022, globals: { ...globals.node, ...globals.browser } },
		rules: { ...js.configs.recommended.rules, ...own }
	},
	{
		files: [ 'package/tsg-server/assets/*.js' ],
		languageOptions: { sourceType: 'script', ecmaVersion: 2022, globals: { ...globals.browser } },
		rules: { ...js.configs.recommended.rules, ...own }
	},
	{
		files: [ 'tests/pages/*.cjs' ],
		languageOptions: { sourceType: 'commonjs', ecmaVersion: 2022, globals: { ...globals.node, ...globals.browser, axe: 'writable' } },
		rules: { ...js.configs.recommended.rules, ...own }
	}
];
