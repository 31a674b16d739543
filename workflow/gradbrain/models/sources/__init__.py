"""Sources of weights: one module each, found by name.

A module defines a class ``Options`` (of :class:`~gradbrain.config.plugins.WeightsOptions`), which
also says which files below ``data/`` are needed or taken where they are there, and a function
``load(entry, options, data)`` that returns the network with its weights, and a line that says where
they came from. It must give the same weights for the same entry, whatever the state of the random
generators. It may define ``check(entry, options, data)``, which raises an error where what lies
here will not do, without reading any weight: it is called before any job, of entries whose files
are there. Putting the network in evaluation mode and freezing it is left to
:func:`gradbrain.models.build.build_model`.
"""
