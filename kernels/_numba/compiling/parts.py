"""Functions that are only ever parts of kernels: no machine code, no wrappers, of their own.

Numba optimises a function, emits its machine code and that of its wrappers, and does all this again
within each function that calls it. A part stays as it was written down for LLVM, until the kernel
around it is optimised as a whole.
"""

from numba.core import types
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import FunctionPass, register_pass
from numba.core.typed_passes import NoPythonSupportedFeatureValidation


class _NoCode:
    """In place of the machine code of a library that has none."""

    def set_env(self, name, environment):
        """Nothing: an environment is for Python objects, which parts do not have."""


class _PartLibrary(JITCodeLibrary):
    """What Numba links into the kernels that call a part."""

    codegen = _NoCode()

    def get_pointer_to_function(self, name):
        return 0  # no Python function: nobody but a kernel calls a part

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True


@register_pass(mutates_CFG=False, analysis_only=True)
class _IntoPartLibrary(FunctionPass):
    _name = "softstep_into_part_library"

    def __init__(self):
        super().__init__()

    def run_pass(self, state):
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class PartCompiler(CompilerBase):
    """Numba's compiler, as far as the code for LLVM."""

    def define_pipelines(self):
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_IntoPartLibrary, NoPythonSupportedFeatureValidation)
        passes.finalize()
        return [passes]


def ignore_literals(part):
    """Compile a part once for all numbers of a type, not again for each that is written down."""
    template_of = part.get_call_template

    def get_call_template(args, kws):
        named = {name: types.unliteral(kind) for name, kind in kws.items()}
        return template_of(tuple(map(types.unliteral, args)), named)

    part.get_call_template = get_call_template
