//! A matrix cut into tiles, each of which one task may write.
#![expect(unsafe_code, reason = "disjoint parts of one slice are handed to several threads")]

use std::marker::PhantomData;
use std::ops::Range;

use smallvec::SmallVec;

use super::Team;

/// Grids, or products, of one job that need no memory from the heap: more work as well.
pub const JOINED: usize = 8;

impl Team {
    /// Calls `f(i, chunk)` for each run of `chunk_len` elements of `out` (the last may be shorter), in parallel.
    pub fn for_each_chunk_mut<T: Send>(
        &self,
        out: &mut [T],
        chunk_len: usize,
        f: &(dyn Fn(usize, &mut [T]) + Sync),
    ) {
        let row_len = out.len();
        let grid = Grid { values: out, row_len, tile_rows: 1, tile_columns: chunk_len };
        self.for_each_tile_mut(&mut [grid], &|_, mut tile| {
            f(tile.columns().start / chunk_len, tile.row_mut(0));
        });
    }

    /// Cuts each of `grids` into tiles and calls `f(grid number, tile)` for every tile, in parallel. Several grids
    /// make one job, so that products of the same activations (q, k and v) need one round of waiting.
    pub fn for_each_tile_mut<T: Send>(
        &self,
        grids: &mut [Grid<'_, T>],
        f: &(dyn Fn(usize, Tile<'_, T>) + Sync),
    ) {
        let shared: SmallVec<[SharedGrid<'_, T>; JOINED]> =
            grids.iter_mut().map(SharedGrid::new).collect();
        let n_tasks = shared.iter().map(|grid| grid.n_tiles).sum();
        self.run(n_tasks, &|mut index| {
            for (number, grid) in shared.iter().enumerate() {
                if index < grid.n_tiles {
                    // SAFETY: `run` gives each index once, so each tile is handed out once.
                    let tile = unsafe { grid.tile(index) };
                    return f(number, tile);
                }
                index -= grid.n_tiles;
            }
        });
    }
}

/// A row-major matrix that [`Team::for_each_tile_mut`] cuts into tiles; those at the lower and right edges may be
/// smaller than the others.
pub struct Grid<'a, T> {
    /// The elements, a whole number of rows.
    pub values: &'a mut [T],
    /// Elements per row.
    pub row_len: usize,
    /// Rows per tile, at least 1.
    pub tile_rows: usize,
    /// Columns per tile, at least 1.
    pub tile_columns: usize,
}

/// A grid that several threads take tiles from.
struct SharedGrid<'a, T> {
    start: *mut T,
    n_rows: usize,
    row_len: usize,
    tile_rows: usize,
    tile_columns: usize,
    tiles_per_row: usize,
    n_tiles: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: threads only take disjoint tiles from it, which are `&mut [T]` in effect and need `T: Send`.
unsafe impl<T: Send> Sync for SharedGrid<'_, T> {}

impl<'a, T> SharedGrid<'a, T> {
    fn new(grid: &'a mut Grid<'_, T>) -> SharedGrid<'a, T> {
        let Grid { values, row_len, tile_rows, tile_columns } = grid;
        assert!(*tile_rows > 0 && *tile_columns > 0, "tiles have a size");
        let n_rows = if values.is_empty() { 0 } else { values.len() / *row_len };
        assert_eq!(values.len(), n_rows * *row_len, "a whole number of rows");
        let tiles_per_row = row_len.div_ceil(*tile_columns);
        SharedGrid {
            start: values.as_mut_ptr(),
            n_rows,
            row_len: *row_len,
            tile_rows: *tile_rows,
            tile_columns: *tile_columns,
            tiles_per_row,
            n_tiles: n_rows.div_ceil(*tile_rows) * tiles_per_row,
            borrow: PhantomData,
        }
    }

    /// Tile number `index`, counted along the rows.
    ///
    /// # Safety
    /// Each index is asked for at most once.
    unsafe fn tile(&self, index: usize) -> Tile<'a, T> {
        assert!(index < self.n_tiles, "inside the grid");
        let row = index / self.tiles_per_row * self.tile_rows;
        let column = index % self.tiles_per_row * self.tile_columns;
        Tile {
            start: self.start,
            row_len: self.row_len,
            rows: row..self.n_rows.min(row + self.tile_rows),
            columns: column..self.row_len.min(column + self.tile_columns),
            borrow: PhantomData,
        }
    }
}

/// A part of a [`Grid`] that one task may write: some rows, and of each the same range of columns.
pub struct Tile<'a, T> {
    start: *mut T,
    row_len: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    borrow: PhantomData<&'a mut [T]>,
}

impl<T> Tile<'_, T> {
    /// The rows of the grid that are in this tile.
    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// The columns of the grid that are in this tile.
    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// This tile's columns of row `row`, counted in the grid.
    ///
    /// # Panics
    /// When the row is not in the tile.
    pub fn row_mut(&mut self, row: usize) -> &mut [T] {
        assert!(self.rows.contains(&row), "a row of this tile");
        // SAFETY: rows and columns of a tile lie inside the grid's slice.
        let start = unsafe { self.start.add(row * self.row_len + self.columns.start) };
        // SAFETY: no other tile covers these elements, and `self` is borrowed while the slice lives.
        unsafe { std::slice::from_raw_parts_mut(start, self.columns.len()) }
    }

    /// A smaller tile inside this one, borrowed from it.
    ///
    /// # Panics
    /// When the ranges, counted in the grid, reach outside this tile.
    pub fn part(&mut self, rows: Range<usize>, columns: Range<usize>) -> Tile<'_, T> {
        let inside = |part: &Range<usize>, whole: &Range<usize>| {
            whole.start <= part.start && part.start <= part.end && part.end <= whole.end
        };
        assert!(
            inside(&rows, &self.rows) && inside(&columns, &self.columns),
            "a part of this tile"
        );
        Tile { start: self.start, row_len: self.row_len, rows, columns, borrow: PhantomData }
    }

    /// Where each row of the tile starts: its `n`-th row is at `pointer + n * stride`, and `columns().len()` elements
    /// there may be written while the tile is borrowed.
    #[cfg_attr(
        not(target_arch = "x86_64"),
        expect(dead_code, reason = "only kernels with raw stores need it")
    )]
    pub(crate) fn raw(&mut self) -> (*mut T, usize) {
        (self.start.wrapping_add(self.rows.start * self.row_len + self.columns.start), self.row_len)
    }
}
